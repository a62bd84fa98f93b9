"""What is told of one VM or one checkpoint: golden files, and edits that really resolve what they say they do."""

import json
import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from reconciler.model.desired import DesiredVm
from reconciler.model.plan import Condition, Reason, Severity
from reconciler.names import NodeName
from reconciler.plan.planner import make_plan
from reconciler.render.edits import commands_of, edits_of
from reconciler.render.events_view import Story
from reconciler.render.explain import explain_node, explain_vm, names_of
from reconciler.render.explain_text import render_explanation
from reconciler.render.explain_words import Known
from reconciler.render.style import Style
from reconciler.spec.load import load_text
from tests.support.world import VM, World, desired
from tests.unit.render import scenarios
from tests.unit.render.conftest import GOLDEN
from tests.unit.render.scenarios import PLANS, Scene
from tests.unit.render.test_merge import CASES

PLAIN = Style(colour=False, unicode=True, width=90)


def known(scene: Scene, source: str = "") -> Known:
    return Known(
        desired=scene.vm,
        observation=scene.world.observe(scene.vm),
        plan=scene.plan,
        now=scene.world.now,
        source=source,
        events=Story(VM).after(scene.world.journal.records or ()),
    )


VMS = ["waits", "after-restore", "restore-running", "head-lost", "not-initialised", "automatic"]
NODES = [
    ("restore-saved", "base"),
    ("captured-with-memory", "base"),
    ("captured-with-memory", "patched"),
    ("waits", "other"),
    ("lost", "with-postgres"),
    ("revive", "patched"),
    ("rename", "patched"),
]


@pytest.mark.parametrize("name", VMS)
def test_a_vm(name: str, golden: Callable[[str, str], None]) -> None:
    make = {**PLANS, "after-restore": scenarios.after_restore, "automatic": scenarios.automatic}
    golden(f"explain-{name}.txt", render_explanation(explain_vm(known(make[name]())), PLAIN))


@pytest.mark.parametrize(("name", "node"), NODES)
def test_a_node(name: str, node: str, golden: Callable[[str, str], None]) -> None:
    told = explain_node(known(PLANS[name]()), NodeName(node))
    golden(f"explain-{name}-{node}.txt", render_explanation(told, PLAIN))


@pytest.mark.parametrize("name", PLANS)
def test_everything_can_be_explained_and_is_json(name: str) -> None:
    everything = known(PLANS[name]())
    for told in (
        explain_vm(everything),
        *(explain_node(everything, node) for node in names_of(everything)),
    ):
        text = render_explanation(told, PLAIN)
        assert all(line == line.rstrip() for line in text.splitlines())
        assert json.loads(json.dumps(told.to_json()))["vm"] == "web"
        assert told.exists
        assert told.says
        assert told.done


@pytest.mark.skipif("CKPTREE_WRITE_GOLDEN" in os.environ, reason="they are being written")
def test_no_golden_file_is_left_over() -> None:
    wanted = {f"explain-{name}.txt" for name in VMS}
    wanted |= {f"explain-{name}-{node}.txt" for name, node in NODES}
    wanted |= {f"merge-{name}.md" for name in (*CASES, "several")}
    there = {file.name for file in GOLDEN.iterdir()}
    assert {name for name in there if name.startswith(("explain-", "merge-"))} == wanted


def test_only_the_last_ten_events_of_a_node_are_told() -> None:
    scene = scenarios.nothing_to_do()
    seen = known(scene)
    events = tuple(event for event in seen.events if NodeName("base") in event.nodes)
    many = replace(seen, events=events * 20)
    assert len(explain_node(many, NodeName("base")).history) == 10


def test_what_could_not_be_read_is_not_called_absent() -> None:
    scene = scenarios.nothing_to_do()
    scene.world.blind_to = "everything"
    seen = known(scene)
    for told in (explain_vm(seen), explain_node(seen, NodeName("base"))):
        assert "could not be read" in told.exists[0]
        assert not any("not exist" in sentence for sentence in told.exists)


# Edits


def waiting(source: str) -> Known:
    """A VM on 'b', below 'a', and the document SOURCE."""
    world = World()
    world.apply(desired({"a": {"b": {}}}))
    vm = load_text(source, "web.yaml")
    assert isinstance(vm, DesiredVm), vm
    seen = world.observe(vm)
    plan = make_plan(vm, seen, world.now)
    return Known(desired=vm, observation=seen, plan=plan, now=world.now, source=source)


TREE = "checkpoints:\n  a:\n    checkpoints:\n      b:\n"
HEAD = "vm: web\ndataset: tank/vm/web\ndisks: [disk0.img]\n"
SOURCES = {
    "nothing below the key": f"{HEAD}{TREE}      new:\n",
    "a comment": f"{HEAD}{TREE}      new:   # not yet\n",
    "a block": f"{HEAD}{TREE}      new:\n          about: x\n",
    "a block with fork: false": f"{HEAD}{TREE}      new:\n        about: x\n        fork: false\n",
    "braces": f"{HEAD}{TREE}      new: {{about: 'x, y', fork: false}}\n",
    "empty braces": f"{HEAD}{TREE}      new: {{}}\n",
    "null": f"{HEAD}{TREE}      new: null\n",
    "quotes": f'{HEAD}{TREE}      "new":\n',
    "current before": f"{HEAD}current: b\n{TREE}      new:\n",
    "no newline at the end": f"{HEAD}{TREE}      new:",
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_each_edit_of_a_node_that_waits_for_its_parent_resolves_it(name: str) -> None:
    source = SOURCES[name]
    told = explain_node(waiting(source), NodeName("new"))
    (obstacle,) = told.obstacles
    assert obstacle.condition.reason is Reason.PARENT_NOT_CURRENT
    assert {edit.text.strip().partition(":")[0] for edit in obstacle.edits} >= {"current"}
    assert len(obstacle.edits) == 2
    for edit in obstacle.edits:
        after = waiting(edit.applied(source))
        reasons = {c.reason for c in after.plan.conditions if c.node == NodeName("new")}
        assert Reason.PARENT_NOT_CURRENT not in reasons
        assert after.plan.actions
        assert edit.text in render_explanation(told, PLAIN)


def test_a_node_taken_by_hand_names_the_command_and_the_edit() -> None:
    source = f"{HEAD}{TREE}        checkpoints:\n          c:\n            when: manual\n"
    (obstacle,) = explain_node(waiting(source), NodeName("c")).obstacles
    assert obstacle.commands == ("ckptree take web c",)
    (edit,) = obstacle.edits
    assert (edit.line, edit.text, edit.replaces) == (10, "            when: now", True)


@pytest.mark.parametrize(
    ("resolve", "source", "text", "line", "replaces"),
    [
        ("write 'restore: {unsaved: discard}'", "vm: web\n", "restore: {unsaved: discard}", 2, False),
        ("write 'restore: {unsaved: discard}'", "vm: web\nrestore: {running: wait}\n",
         "restore: {unsaved: discard, running: wait}", 2, True),
        ("write 'restore: {unsaved: discard}'", "vm: web\nrestore:\n    unsaved: save\n",
         "    unsaved: discard", 3, True),
        ("write 'suspend: false'", "suspend: true\n", "suspend: false", 1, True),
        ("write 'was: old' at new to rename", "checkpoints:\n  new:\n", "    was: old", 3, False),
    ],
)  # fmt: skip
def test_where_an_edit_goes(
    resolve: str, source: str, text: str, line: int, replaces: bool
) -> None:
    vm = desired({"new": {}})
    node = replace(vm.nodes[0], position=replace(vm.position, line=2, column=3))
    condition = Condition(
        severity=Severity.WAIT, reason=Reason.LOST, message="", node=node.name, resolve=resolve
    )
    (edit,) = edits_of(condition, replace(vm, nodes=(node,)), source)
    assert (edit.text, edit.line, edit.replaces) == (text, line, replaces)


@pytest.mark.parametrize(
    "resolve",
    ["", "write 'current:' with a node", "write 'restore: {again: ...}'", "let it be 'ckptree tree web'"],
)  # fmt: skip
def test_what_is_no_whole_line_makes_no_edit(resolve: str) -> None:
    condition = Condition(
        severity=Severity.WAIT, reason=Reason.LOST, message="", resolve=resolve
    )  # fmt: skip
    assert edits_of(condition, desired({"a": {}}), "vm: web\n") == ()
    assert commands_of(condition) == (("ckptree tree web",) if "tree" in resolve else ())
