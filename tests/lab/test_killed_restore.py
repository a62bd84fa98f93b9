"""Invariants 4, 5 and 6 on a real guest: ckptree is killed at every step boundary of a restore, and at random.

Whatever the moment, the next run finishes, the guest runs where the file wants it, and nothing unsaved is lost. Places
are tried one after the other on one guest that goes back and forth, because every boot is dear here.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.kills import MOST_PLACES, killed_after, killed_at
from tests.lab.live import QEMU, Live

TRIES = int(os.environ.get("CKPTREE_KILLS", "2"))
TREE = "a:\n  checkpoints:\n    b:"


@pytest.fixture
def live(pool: str, tmp_path: Path) -> Iterator[Live]:
    for live in Live.counting(f"{pool}/web", tmp_path, QEMU):
        live.document_of("a:")
        live.apply()
        live.counts(1)
        live.document_of(TREE)
        live.apply()
        yield live


def test_4_5_6_a_restore_killed_at_every_boundary(live: Live) -> None:
    for place in range(MOST_PLACES):
        target = "ab"[place % 2]
        live.document_of(TREE, f"current: {target}", f"restore: {{again: {place}}}")
        with live.another_life():
            came_so_far = killed_at(place, live.applying)
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
    chance = random.Random(4711)  # noqa: S311 - the same instants each time, as far as time allows
    for number in range(TRIES):
        target = "ab"[number % 2]
        live.document_of(TREE, f"current: {target}", f"restore: {{again: {number}}}")
        with live.another_life():
            killed_after(chance.uniform(0.1, 6.0), live.applying)
            live.apply()
            assert live.runs(), f"try {number}"
            live.counts(1)
        assert _position_is(live, target), f"try {number}"
        assert live.live_memory() == []


def _position_is(live: Live, target: str) -> bool:
    origin = live.get(live.link, "origin").removeprefix(f"{live.home}/")
    return live.get(origin, "ckptree:node") == target
