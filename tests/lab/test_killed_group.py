"""Invariants 4 and 5 for a group: ckptree is killed at every step boundary of its capture; all of it is taken, or none.

Places are tried one after the other on two guests that run, because every boot is dear here.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kills import MOST_PLACES, killed_at
from tests.lab.shop import Shop


@pytest.fixture
def shop(pool: str, tmp_path: Path) -> Iterator[Shop]:
    yield from Shop.open(pool, tmp_path, files=False)


def test_4_5_a_group_capture_killed_at_every_boundary(shop: Shop) -> None:
    nodes: list[str] = []
    for place in range(MOST_PLACES):
        nodes.append(f"n{place}")
        shop.write(_chain(nodes))
        came_so_far = killed_at(place, shop.web.applying)
        shop.count_on()
        assert shop.taken(nodes[-1]) in ([], ["web", "db"]), f"half taken at {place}"
        shop.apply()
        assert len(shop.instants(nodes[-1])) == 1, f"killed at {place}"
        assert all(vm.live_memory() == [] for vm in shop.running), f"killed at {place}"
        if not came_so_far:
            break
    else:
        pytest.fail("the plan has no end")
    assert place >= 12


def _chain(nodes: list[str]) -> str:
    text = ""
    for node in reversed(nodes):
        below = f", checkpoints: {{{text}}}" if text else ""
        text = f"{node}: {{group: g-{node}{below}}}"
    return text
