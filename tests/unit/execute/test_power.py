"""`ckptree start` and `ckptree stop`: from memory exactly where that fits the disks, and never against the facts."""

import pytest

from reconciler.errors import CkptreeError
from reconciler.execute.power import start_guest, stop_guest
from reconciler.model.journal import facts_of
from reconciler.model.observed import GuestState, LinkTo, Running
from reconciler.names import NodeName
from tests.support.world import IDENTITY, MANAGED, World, desired

TREE = desired({"a": {}})
BACK = desired({"a": {}}, current=NodeName("a"))


def start(world: World, *, cold: bool = False) -> bool:
    return start_guest(TREE, world.hands(), IDENTITY, lambda: world.now, "test", cold=cold)


def stop(world: World) -> bool:
    return stop_guest(TREE, world.hands(), IDENTITY, lambda: world.now, "test", at_once=False)


@pytest.fixture
def restored() -> World:
    """A guest that is off, restored to a checkpoint with memory."""
    world = World(ability=MANAGED)
    world.write("w0")
    world.boot("ram0")
    world.apply(TREE)
    world.write("w1")
    stop(world)
    world.apply(desired({"a": {"b": {}}}))
    world.apply(desired({"a": {"b": {}}}, current=NodeName("a")))
    world.apply(BACK)
    return world


def test_after_a_restore_it_goes_on_from_the_memory_once(restored: World) -> None:
    assert restored.files.guest.running is Running.OFF
    assert start(restored)
    assert (restored.content(), restored.guest.ram) == ("w0", "ram0")
    stop(restored)
    assert not start(restored)


def test_it_boots_where_the_disks_have_changed_since(restored: World) -> None:
    restored.write("somebody was here")
    assert not start(restored)
    assert restored.guest.ram == ""


def test_a_cold_start_leaves_no_memory_behind(restored: World) -> None:
    assert not start(restored, cold=True)
    stop(restored)
    assert not start(restored)


def test_a_guest_that_is_stopped_by_a_person_is_not_owed_a_start(restored: World) -> None:
    start(restored)
    assert stop(restored)
    assert not stop(restored), "off already"
    assert not facts_of(restored.journal.records).stopped
    assert not restored.apply(BACK).done.actions
    assert restored.files.guest.running is Running.OFF


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (GuestState(Running.RUNNING, "simulated"), "runs already"),
        (GuestState(Running.UNKNOWN, "no keeper answers"), "may be running"),
    ],
)
def test_it_is_not_started_twice(restored: World, state: GuestState, says: str) -> None:
    restored.files.guest = state
    with pytest.raises(CkptreeError, match=says):
        start(restored)


def test_it_is_not_started_on_a_branch_that_is_not_its_own(restored: World) -> None:
    restored.files.link = LinkTo("b-1")
    with pytest.raises(CkptreeError, match="ckptree apply web"):
        start(restored)


def test_a_guest_that_is_not_ckptrees_is_neither_started_nor_stopped() -> None:
    world = World()
    for deed in (start, stop):
        with pytest.raises(CkptreeError, match="not ckptree's"):
            deed(world)
