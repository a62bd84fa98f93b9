"""An exported observation comes back whole, and anything else is refused with the place of the fault."""

import json
from dataclasses import replace
from datetime import time

import pytest

from reconciler.errors import CkptreeError
from reconciler.model.journal import HooksBegun, Left, Occasion, Origin, Switching
from reconciler.model.observed import (
    Gap,
    GuestState,
    Link,
    LinkAbsent,
    LinkTo,
    LinkUnknown,
    Observation,
    Running,
)
from reconciler.model.windows import ALWAYS, Window, Windows
from reconciler.names import NodeName
from reconciler.plan.document import Json
from reconciler.plan.exported import observation_json, read_observations
from tests.support.world import HOME, MANAGED, START, World, desired

A, B = NodeName("a"), NodeName("b")
HOURS = Windows(paused=(Window(days=frozenset({5, 6}), start=time(22), end=time(6)),))


def document(*bodies: Json) -> str:
    return json.dumps({"trees": [{"observation": body} for body in bodies]}, indent=1)


def observed() -> Observation:
    world = World(("disk1",), MANAGED)
    world.boot()
    world.apply(desired({"a": {"b": {}}}))
    world.write("since")
    return world.observe(desired({"a": {"b": {}}}))


def full() -> Observation:
    """An observation in which everything has a value, and every guid is as long as guids are."""
    seen = observed()
    guid = 2**64 - 1
    facts = replace(
        seen.journal,
        wished=frozenset({A, B}),
        switching=Switching(at="x", guid=guid, node=None, again="1", before=3, left=Left.SAVED),
        capturing=(A, None),
        destroying=("x y",),
        left={guid: Left.DISCARDED, 7: Left.CLEAN},
        approved=frozenset({guid, 5}),
        gave_up=(B, None, "no room"),
        origin=Origin(
            guid=guid, node=A, again=None, current_before=B, again_before="2", position_before=None
        ),
        hooks=HooksBegun(
            at="x", occasion=Occasion.RESTORE, nodes=[A], branch="/b", after=["/bin/thaw"], timeout=3.5
        ),
    )  # fmt: skip
    return replace(
        seen,
        journal=facts,
        reading=replace(seen.reading, gaps=(Gap("tank/x", "no\tway ü"),)),
        guest=GuestState(Running.UNKNOWN, "pid 1"),
        missing_disks=("disk0.img",),
        live_memory={HOME.child("b-1"): (".ckptree/a.ckp",)},
        users="vim has disk0.img open",
        busy=frozenset({HOME.child("b-2"), HOME.child("b-1")}),
    )


@pytest.mark.parametrize("link", [LinkAbsent(), LinkTo("b-1"), LinkUnknown("odd")])
def test_everything_comes_back(link: Link) -> None:
    seen = replace(full(), link=link)
    (back,) = read_observations(document(observation_json(seen, START, HOURS)), "seen.json")
    assert back.observation == seen
    assert (back.at, back.windows) == (START, HOURS)


def test_the_same_observation_is_the_same_bytes() -> None:
    assert document(observation_json(full(), START)) == document(observation_json(full(), START))


def test_no_number_is_longer_than_every_reader_of_json_can_hold() -> None:
    def numbers(body: object) -> list[int]:
        if isinstance(body, dict):
            return [n for value in body.values() for n in numbers(value)]
        if isinstance(body, list):
            return [n for value in body for n in numbers(value)]
        return [body] if isinstance(body, int) else []

    body = json.loads(document(observation_json(full(), START)))
    assert max(numbers(body)) < 2**53


def test_the_arguments_of_a_hook_stay_on_the_host() -> None:
    seen = full()
    assert seen.journal.hooks is not None
    begun = replace(seen.journal.hooks, after=["/bin/thaw", "--password=secret"])
    seen = replace(seen, journal=replace(seen.journal, hooks=begun))
    assert "secret" not in document(observation_json(seen, START))


def test_several_hosts_trees_come_in_their_order() -> None:
    one, other = observed(), replace(observed(), host="bsd08")
    text = document(observation_json(one, START), observation_json(other, START))
    assert [each.observation.host for each in read_observations(text, "f")] == ["bsd07", "bsd08"]
    assert read_observations('{"trees": []}', "f") == ()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"version": 2}, r"f: trees\[0\]\.observation\.version: 2, and this ckptree reads 1"),
        ({"vm": "no/name"}, r"f: trees\[0\]\.observation\.vm: 'no/name' is not a VM name"),
        ({"colour": "red"}, r"observation: extra fields found \(colour\)"),
        ({"at": "yesterday"}, r"observation\.at: 'yesterday' is not a UTC time"),
        ({"at": None}, r"observation\.at: None is not of the type str"),
        ({"windows": 3}, r"observation\.windows: .*another type"),
        ({"reading": {"root": "t/x", "gaps": [{"name": "x"}]}},
         r"observation\.reading\.gaps\[0\]\.reason: required field missing"),
        ({"guest": {"running": "maybe"}}, r"observation\.guest\.running: "),
        ({"link": {"kind": "LinkOf"}}, r"observation\.link: "),
        ({"journal": {"exists": "yes"}}, r"observation\.journal\.exists: 'yes' is not of the type bool"),
        ({"journal": {"left": {"x": "clean"}}}, r"observation\.journal\.left.*: 'x' is not of the type int"),
        ({"pool": {"name": "tank", "available": 1.5}}, r"observation\.pool\.available: 1.5 is not of the type int"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_place_and_a_way_out(
    change: dict[str, Json], complaint: str
) -> None:
    body = {**observation_json(observed(), START, ALWAYS), **change}
    with pytest.raises(CkptreeError, match=complaint) as caught:
        read_observations(document(body), "f")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(")")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"trees": [\n{"a": }]}', r"f:2:7: this is not JSON: "),
        ("", r"f:1:1: this is not JSON"),
        ("[" * 100_000, "f: this is nested too deeply"),
        ("[]", "f: there is no list 'trees' in it"),
        ('{"trees": [3]}', r"f: trees\[0\]\.observation: there is none"),
        ('{"trees": [{"vm": "web"}]}', r"f: trees\[0\]\.observation: there is none"),
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(CkptreeError, match=complaint):
        read_observations(text, "f")
