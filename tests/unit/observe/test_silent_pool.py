"""A pool that does not answer: it is asked once for all its homes, and no file of it is touched."""

from dataclasses import replace

import pytest

from reconciler.errors import ObservationFailed
from reconciler.model.observed import Gap, PoolFacts, Reading
from reconciler.model.plan import Reason
from reconciler.names import Dataset, VmName
from reconciler.observe.observer import observe, read_pools
from reconciler.plan.planner import make_plan
from tests.support.plans import reasons
from tests.support.world import IDENTITY, MANAGED, START, World, desired

VMS = [
    replace(desired({"a": {}}), vm=VmName(name), dataset=Dataset(f"tank/{name}"))
    for name in ("web", "db")
]
UNREAD = {vm.dataset: Reading(root=vm.dataset, gaps=(Gap(vm.dataset, "no answer"),)) for vm in VMS}


@pytest.fixture
def world() -> World:
    return World(ability=MANAGED)


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    names: list[Dataset] = []

    def mute(dataset: Dataset) -> PoolFacts:
        names.append(dataset)
        raise ObservationFailed("no answer")

    monkeypatch.setattr(world.zfs, "pool", mute)
    return names


def test_it_is_asked_once_for_all_homes_that_could_not_be_read(
    world: World, asked: list[Dataset]
) -> None:
    pools = read_pools(UNREAD, world.zfs)
    for vm in VMS:
        reading, pool = UNREAD[vm.dataset], pools.get(vm.dataset)
        observe(vm, world.zfs, world.files, world.guest, world.journal, IDENTITY, reading, pool)
    assert asked == ["tank"]


@pytest.mark.usefixtures("asked")
def test_the_guest_is_not_looked_for_in_a_home_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 8. Whoever reads a file there may wait for good, and keep everybody waiting."""

    def waits(*_: object) -> None:
        raise AssertionError("this would never return")

    for name in ("probe", "state"):
        monkeypatch.setattr(world.guest, name, waits)
    reading = UNREAD[VMS[0].dataset]
    seen = observe(VMS[0], world.zfs, world.files, world.guest, world.journal, IDENTITY, reading)
    plan = make_plan(VMS[0], seen, START)
    assert not plan.actions
    assert reasons(plan) == [Reason.OBSERVATION_INCOMPLETE]


def test_one_that_answers_tells_its_state_for_homes_that_could_not_be_read(world: World) -> None:
    suspended = PoolFacts(name="tank", health="SUSPENDED")
    world.zfs.set_pool(suspended)
    assert read_pools(UNREAD, world.zfs) == dict.fromkeys(UNREAD, suspended)
