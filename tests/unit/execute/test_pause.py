"""How long a guest stood still is written down with the step after which it goes on."""

from itertools import count

import pytest

from reconciler.execute import executor
from reconciler.model.desired import RestorePolicy
from reconciler.model.journal import Done, facts_of
from reconciler.names import NodeName
from tests.support.world import DISKS_ONLY, MANAGED, World, desired


@pytest.fixture(autouse=True)
def _seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is a second later than the one before."""
    ticks = count()
    monkeypatch.setattr(executor, "monotonic", lambda: float(next(ticks)))


def pauses(world: World) -> list[float]:
    records = world.journal.records or []
    return [one.pause for one in records if isinstance(one, Done) and one.pause is not None]


def test_a_capture_with_memory_tells_its_pause() -> None:
    world = World(ability=MANAGED)
    world.boot()
    world.apply(desired({"a": {}}))
    assert pauses(world) == [1.0]
    assert facts_of(world.journal.records).pause == 1.0


def test_a_capture_without_memory_pauses_nobody() -> None:
    world = World(ability=DISKS_ONLY)
    world.boot()
    world.apply(desired({"a": {}}))
    assert pauses(world) == []
    assert facts_of(world.journal.records).pause is None


def test_a_restore_counts_from_the_end_of_the_old_life_to_the_start_of_the_new_one() -> None:
    world = World(ability=MANAGED)
    world.boot()
    world.apply(desired({"a": {}}))
    world.write("more")
    restore = RestorePolicy(again="1")
    world.apply(desired({"a": {}}, current=NodeName("a"), restore=restore))
    assert len(pauses(world)) == 2
    assert facts_of(world.journal.records).pause == pauses(world)[-1] >= 1.0
