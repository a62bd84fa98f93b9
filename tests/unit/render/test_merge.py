"""What a merge request would change, as reviewers read it, against golden files."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.errors import CkptreeError, ExitCode
from reconciler.model.actions import Capture, Retire
from reconciler.model.desired import DesiredVm, Prune, RestorePolicy, SourcePosition, Unsaved
from reconciler.names import Dataset, NodeName, VmName
from reconciler.plan.exported import Exported
from reconciler.render.markdown import code, escaped, plain_html, prose
from reconciler.render.merge_text import render_merge
from reconciler.render.merge_view import Fate, MergedVm, MergeView, merge_view
from reconciler.spec.findings import Finding
from reconciler.spec.load import Loaded
from tests.support.world import START, World, desired
from tests.unit.render import scenarios
from tests.unit.render.scenarios import ABOUT, LINE, PLANS, Scene

BROKEN = (Finding(SourcePosition("vms/db.yaml", 3, 1), "unknown key 'colour'", "remove it"),)


def loaded(*vms: DesiredVm, findings: tuple[Finding, ...] = ()) -> Loaded:
    return Loaded(vms=vms, findings=findings, empty=())


def exported(world: World, vm: DesiredVm, host: str = "bsd07") -> Exported:
    return Exported(observation=replace(world.observe(vm), host=host), at=world.now)


def written(vm: DesiredVm, digest: str = "new") -> DesiredVm:
    return replace(vm, digest=digest)


def merged(scene: Scene, before: DesiredVm) -> MergeView:
    """Merging the document of SCENE into BEFORE."""
    seen = (exported(scene.world, scene.vm),)
    return merge_view("main", "HEAD", loaded(before), loaded(written(scene.vm)), seen)


STANDING = desired(LINE, ABOUT)
EXPERIMENT = desired({"base": {"patched": {"with-postgres": {}}, "experiment": {}}}, ABOUT)
CASES: dict[str, tuple[Callable[[], Scene], DesiredVm]] = {
    "restore": (scenarios.restore_saved, STANDING),
    "discard": (scenarios.restore_discarded, STANDING),
    "running": (scenarios.restore_running, desired({"base": {}}, ABOUT)),
    "waits": (scenarios.waits, STANDING),
    "removal": (scenarios.approval, EXPERIMENT),
    "destroy": (
        scenarios.destroy,
        desired({"base": {"experiment": {}}}, ABOUT, prune=Prune(grace=timedelta(days=90))),
    ),
    "rescue": (scenarios.revive, desired({"base": {"experiment": {}}}, ABOUT)),
}


@pytest.mark.parametrize("name", CASES)
def test_one_vm(name: str, golden: Callable[[str, str], None]) -> None:
    make, before = CASES[name]
    golden(f"merge-{name}.md", render_merge(merged(make(), before)))


def _several() -> MergeView:
    vms = [
        replace(vm, vm=VmName(name))
        for name, (make, before) in CASES.items()
        for vm in merged(make(), before).vms
    ]
    one = desired({})
    other = replace(one, vm=VmName("old"), position=SourcePosition("vms/old.yaml", 1, 5))
    db = replace(one, vm=VmName("db"), position=SourcePosition("vms/db.yaml", 1, 5))
    new = replace(STANDING, vm=VmName("fresh"), dataset=Dataset("tank/vm/fresh"))
    more = merge_view("main", "HEAD", loaded(other, db), loaded(new, findings=BROKEN), ())
    vms += more.vms
    vms.append(MergedVm(vm=VmName("quiet"), fate=Fate.UNCHANGED, file="quiet.yaml"))
    seen = {"bsd07": START}
    return MergeView(base="main", head="feature/x_y", vms=tuple(vms), findings=BROKEN, seen=seen)


def test_several(golden: Callable[[str, str], None]) -> None:
    golden("merge-several.md", render_merge(_several()))


def test_a_long_report_ends_in_time_and_says_so() -> None:
    view = _several()
    vms = tuple(
        replace(vm, vm=VmName(f"{vm.vm}-{number}")) for number in range(100) for vm in view.vms
    )
    text = render_merge(replace(view, vms=vms))
    assert len(text) < 65_536
    assert "are left out here" in text
    assert "more |" in text
    assert text.count("<details") == text.count("</details>")


@pytest.mark.parametrize("name", PLANS)
def test_a_merge_that_changes_nothing_is_nothing_whatever_is_pending(name: str) -> None:
    scene = PLANS[name]()
    view = merge_view(
        "a", "b", loaded(scene.vm), loaded(written(scene.vm)), (exported(scene.world, scene.vm),)
    )
    assert [vm.fate for vm in view.vms] == [Fate.UNCHANGED]
    assert not view.vms[0].changes
    assert view.exit_code in {ExitCode.NOTHING_TO_DO, ExitCode.BLOCKED}
    assert "Changes nothing" in render_merge(view)


def test_only_what_the_merge_adds_is_told() -> None:
    world = World()
    world.apply(desired({"a": {}}))
    pending = desired({"a": {"b": {}}})
    after = desired({"a": {"b": {"c": {}}}}, digest="new")
    view = merge_view("x", "y", loaded(pending), loaded(after), (exported(world, after),))
    (vm,) = view.vms
    assert vm.plan is not None
    (taken,) = vm.plan.actions
    assert isinstance(taken, Capture)
    assert [node.name for node in taken.nodes] == ["c"]
    assert view.exit_code is ExitCode.CHANGES


def test_what_the_merge_keeps_from_happening_is_told() -> None:
    scene = scenarios.retire()
    after = replace(EXPERIMENT, digest="new")
    seen = (exported(scene.world, after),)
    view = merge_view("x", "y", loaded(scene.vm), loaded(after), seen)
    (vm,) = view.vms
    assert vm.plan is not None
    assert vm.plan.actions == ()
    assert [type(action) for action in vm.dropped] == [Retire]
    assert "No longer done" in render_merge(view)
    assert view.exit_code is ExitCode.CHANGES


def test_a_change_that_has_no_effect_yet_is_told() -> None:
    scene = scenarios.nothing_to_do()
    after = replace(
        scene.vm,
        digest="new",
        prune=Prune(grace=timedelta(hours=1)),
        restore=RestorePolicy(unsaved=Unsaved.DISCARD),
        suspend=True,
    )
    view = merge_view("x", "y", loaded(scene.vm), loaded(after), (exported(scene.world, after),))
    assert set(view.vms[0].keys) == {
        "suspend: false becomes true",
        "prune.grace: 24 h becomes 60 min",
        "restore.unsaved: save becomes discard",
    }
    assert view.exit_code is ExitCode.CHANGES


def test_a_document_with_new_faults_releases_nothing() -> None:
    db = replace(STANDING, vm=VmName("db"), position=SourcePosition("vms/db.yaml", 1, 5))
    view = merge_view("x", "y", loaded(db), loaded(findings=BROKEN), ())
    assert [vm.fate for vm in view.vms] == [Fate.FAULTY]
    assert view.exit_code is ExitCode.ERROR
    assert "`vms/db.yaml:3:1`: unknown key `colour` (remove it)" in render_merge(view)


def test_a_document_whose_faults_are_put_right_is_not_a_new_vm() -> None:
    scene = scenarios.first_capture()
    faults = (replace(BROKEN[0], position=scene.vm.position),)
    seen = (exported(scene.world, scene.vm),)
    view = merge_view("x", "y", loaded(findings=faults), loaded(scene.vm), seen)
    assert [vm.fate for vm in view.vms] == [Fate.CHANGED]
    assert view.exit_code is ExitCode.CHANGES


def test_a_vm_that_no_observation_has_is_unknown_and_not_unchanged() -> None:
    view = merge_view("x", "y", loaded(STANDING), loaded(written(EXPERIMENT)), ())
    assert [vm.fate for vm in view.vms] == [Fate.UNKNOWN]
    assert view.exit_code is ExitCode.BLOCKED
    assert "give that of its host with" in render_merge(view)


def test_the_observation_of_the_host_that_the_document_names_counts() -> None:
    scene = scenarios.waits()
    seen = [exported(scene.world, scene.vm, host) for host in ("bsd07", "bsd08")]
    after = replace(scene.vm, host="bsd08", digest="new")
    view = merge_view("x", "y", loaded(), loaded(after), seen)
    assert [(vm.vm, vm.host) for vm in view.vms] == [("web", "bsd08")]


def test_of_several_hosts_those_with_a_home_count() -> None:
    scene, empty = scenarios.waits(), World()
    elsewhere = replace(scene.vm, dataset=Dataset("tank/other/web"))
    seen = [exported(empty, elsewhere, "bsd06"), exported(scene.world, scene.vm, "bsd07")]
    blank = replace(
        seen[0],
        observation=replace(
            seen[0].observation, reading=replace(seen[0].observation.reading, root=scene.vm.dataset)
        ),
    )
    view = merge_view("x", "y", loaded(), loaded(scene.vm), [blank, seen[1]])
    assert [vm.host for vm in view.vms] == ["bsd07"]


def test_one_hosts_vm_twice_is_refused() -> None:
    scene = scenarios.waits()
    seen = [exported(scene.world, scene.vm)] * 2
    with pytest.raises(CkptreeError, match="VM web of host bsd07 is in the observations twice"):
        merge_view("x", "y", loaded(), loaded(scene.vm), seen)


def test_json_has_everything_that_is_shown() -> None:
    body = merged(scenarios.restore_discarded(), STANDING).to_json()
    (vm,) = json.loads(json.dumps(body))["vms"]
    assert vm["losses"][0]["bytes"] == 412 * scenarios.MIB
    assert vm["actions"][0]["kind"] == "Restore"
    assert vm["fate"] == "changed"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b*c|d<e>", r"a\_b\*c\|d\<e\>"),
        ("ping @all, b-1@base", "ping @\u200ball, b-1@base"),
        ("[x](http://e.org) #1 !2", r"\[x\](http\://e.org) \#1 \!2"),
        ("two\nlines\x1b[31m", r"two lines?\[31m"),
        (":smile: at 15:20, no: x", r"\:smile: at 15\:20, no: x"),
        ("&amp; \\", r"\&amp; \\"),
    ],
)
def test_text_of_people_is_shown_as_it_is(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_code_holds_whatever_is_in_it() -> None:
    assert code("a`b") == "``a`b``"
    assert code("`x`") == "`` `x` ``"
    assert code("a|b") == r"`a\|b`"
    assert prose("write 'fork: true' at it's_place") == r"write `fork: true` at it's\_place"
    assert plain_html("<b>&@me") == f"&lt;b&gt;&amp;@{chr(0x200B)}me"


def test_an_operators_text_cannot_break_out_of_the_report() -> None:
    evil = "</details><script>x</script> | `' @all\n# Title"
    vm = replace(desired({"base": {"evil": {}}}, {**ABOUT, "evil": {"about": evil}}), digest="new")
    world = World()
    world.apply(desired({"base": {}}, ABOUT))
    world.apply(vm)
    gone = desired({"base": {}}, ABOUT, digest="gone", current=NodeName("base"))
    view = merge_view("x", "y", loaded(vm), loaded(gone), (exported(world, gone),))
    text = render_merge(view)
    assert "<script" not in text.replace(r"\<script", "")
    assert text.count("</details>") == text.count("<details") == 1
    assert "\n# Title" not in text
    assert "@all" not in text
