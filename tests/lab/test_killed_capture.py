"""Invariants 4 and 5 on a real guest: ckptree is killed at every step boundary of a capture; the guest goes on.

Under bhyve (its double) with suspend and resume, where the guest is gone while the snapshot is taken: its keeper sees
that ckptree is gone and starts it. Places are tried one after the other on one guest, because every boot is dear here.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kills import MOST_PLACES, killed_at
from tests.lab.live import SUSPEND, Live, until


@pytest.fixture
def live(pool: str, tmp_path: Path) -> Iterator[Live]:
    yield from Live.counting(f"{pool}/web", tmp_path, SUSPEND)


def test_4_5_a_capture_killed_at_every_boundary(live: Live) -> None:
    nodes: list[str] = []
    for place in range(MOST_PLACES):
        nodes.append(f"n{place}")
        live.document_of(_chain(nodes))
        came_so_far = killed_at(place, live.applying)
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
    assert place >= 6
    # What was taken around the kills is still exact.
    for name in (nodes[0], nodes[len(nodes) // 2]):
        live.document_of(_chain(nodes), f"current: {name}", f"restore: {{again: {name}}}")
        with live.another_life():
            live.apply()
            live.goes_on_from(name)


def _goes_on(live: Live, when: str) -> None:
    until(live.runs, f"the guest runs, {when}")
    live.counts(1)


def _chain(nodes: list[str]) -> str:
    """Write NODES as a chain."""
    lines = []
    for depth, node in enumerate(nodes):
        lines.append(f"{'    ' * depth}{node}:")
        if depth + 1 < len(nodes):
            lines.append(f"{'    ' * depth}  checkpoints:")
    return "\n".join(lines)
