"""Invariants 4, 5 and 6 on real guests: ckptree is killed at every step boundary, and once at random; nothing is lost.

Whatever the moment, the guest goes on by itself (its keeper sees that ckptree is gone), and the next run finishes.
Places are tried one after the other on one guest that goes back and forth, because every boot is dear here.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kills import killed_after, killed_at
from tests.lab.live import QEMU, SUSPEND, Kind, Live, until

SHARE: dict[str, list[Kind]] = {"2.3": [QEMU], "2.1": [SUSPEND]}
KINDS = SHARE[os.environ["CKPTREE_LAB_ZFS"]]
TRIES = int(os.environ.get("CKPTREE_KILLS", "4"))
_MOST = 120  # places: more than any plan here has


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def live(request: pytest.FixtureRequest, pool: str, tmp_path: Path) -> Iterator[Live]:
    folder = tmp_path / "vms"
    folder.mkdir()
    vm = Live(f"{pool}/web", folder, request.param)
    vm.make()
    vm.start()
    yield vm
    vm.end()


def _command(live: Live) -> list[str]:
    return ["--vms", str(live.folder), "--zfs", live.write_path, "apply"]


def test_4_5_a_capture_killed_at_every_boundary(live: Live) -> None:
    nodes: list[str] = []
    for place in range(_MOST):
        nodes.append(f"n{place}")
        live.document_of(_chain(nodes))
        came_so_far = killed_at(place, _command(live))
        _goes_on(live, f"killed at {place}")
        live.apply()
        node = live.node(nodes[-1])
        assert live.get(node, "ckptree:grade") == "memory", f"killed at {place}"
        assert live.held(node)
        assert live.live_memory() == []
        _goes_on(live, f"after the run that followed {place}")
        if not came_so_far:
            break
    else:
        pytest.fail("the plan has no end")
    assert place > 8
    # What was taken around the kills is still exact.
    for name in (nodes[0], nodes[len(nodes) // 2]):
        live.document_of(_chain(nodes), f"current: {name}", f"restore: {{again: {name}}}")
        with live.another_life():
            live.apply()
            live.goes_on_from(name)


def test_4_5_6_a_restore_killed_at_every_boundary(live: Live) -> None:
    tree = "a:\n  checkpoints:\n    b:"
    live.document_of("a:")
    live.apply()
    live.counts(1)
    live.document_of(tree)
    live.apply()
    for place in range(_MOST):
        target = "ab"[place % 2]
        live.document_of(tree, f"current: {target}", f"restore: {{again: {place}}}")
        with live.another_life():
            came_so_far = killed_at(place, _command(live))
            live.apply()
            assert live.runs(), f"killed at {place}"
            live.counts(1)
        assert _position_is(live, target), f"killed at {place}"
        assert live.live_memory() == [], f"killed at {place}"
        if place % 6 == 0:
            before = live.everything()
            live.apply()
            assert live.everything() == before, f"3: killed at {place}"
        if not came_so_far:
            break
    else:
        pytest.fail("the plan has no end")
    assert place > 20
    assert live.automatic(), "the unsaved state was kept each time"


def test_4_5_killed_at_random_instants(live: Live) -> None:
    """The seed is told by the test's id in a failure: CKPTREE_KILLS asks for more tries."""
    tree = "a:\n  checkpoints:\n    b:"
    live.document_of("a:")
    live.apply()
    live.document_of(tree)
    live.apply()
    chance = random.Random(4711)  # noqa: S311 - the same instants each time, as far as time allows
    for number in range(TRIES):
        target = "ab"[number % 2]
        live.document_of(tree, f"current: {target}", f"restore: {{again: {number}}}")
        with live.another_life():
            killed_after(chance.uniform(0.1, 6.0), _command(live))
            live.apply()
            assert live.runs(), f"try {number}"
            live.counts(1)
        assert _position_is(live, target), f"try {number}"
        assert live.live_memory() == []


def _goes_on(live: Live, when: str) -> None:
    until(live.runs, f"the guest runs, {when}")
    live.counts(1)


def _position_is(live: Live, target: str) -> bool:
    origin = live.get(live.link, "origin").removeprefix(f"{live.home}/")
    return live.get(origin, "ckptree:node") == target


def _chain(nodes: list[str]) -> str:
    """Write NODES as a chain."""
    lines = []
    for depth, node in enumerate(nodes):
        lines.append(f"{'    ' * depth}{node}:")
        if depth + 1 < len(nodes):
            lines.append(f"{'    ' * depth}  checkpoints:")
    return "\n".join(lines)
