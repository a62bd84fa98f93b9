"""The ZFS in memory against itself: whatever is done to it, it stays a possible ZFS.

That it is the real one's twin is proved in the lab; here only what must hold in any state.
"""

import os

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from reconciler.simulate.zfs import MemoryZfs
from tests.unit.zfs.operations import Draw, apply, guids
from tests.unit.zfs.world import MemoryWorld, look

_EXAMPLES = int(os.environ.get("CKPTREE_EXAMPLES") or 60)
_SETTINGS = settings(max_examples=_EXAMPLES, stateful_step_count=12, deadline=None)


class Machine(RuleBasedStateMachine):
    """Does drawn operations and looks at what is left."""

    def __init__(self) -> None:
        super().__init__()
        self.world = MemoryWorld()
        self.draw = Draw(0, self.world, whole=True)
        self.seen: dict[int, tuple[int, str]] = {}

    @rule(seed=st.integers(0, 1 << 32), number=st.integers(1, 12))
    def operate(self, seed: int, number: int) -> None:
        self.draw.reseed(seed)
        for _ in range(number):
            self._operate()

    def _operate(self) -> None:
        before = look(self.world)
        twin = self.world.zfs.copy()
        operation = self.draw.next()
        result = apply(self.world, operation, guids(before))
        after = look(self.world)
        assert twin.read([self.world.home])[self.world.home] == before, "a copy is its own"
        if result not in {"done", "nothing"}:
            assert after == before, "a refused operation changes nothing"
        if operation[0] == "promote":
            assert set(guids(before).values()) == set(guids(after).values())
        if result == "done" and operation[0] == "snapshot":
            taken = [after.snapshot(name) for name in operation[1:]]
            assert len({facts.createtxg for facts in taken if facts is not None}) == 1
            assert len(taken) == len([facts for facts in taken if facts is not None])

    @invariant()
    def a_reading_is_sorted_and_whole(self) -> None:
        reading = look(self.world)
        assert list(reading.datasets) == sorted(reading.datasets, key=lambda facts: facts.name)
        keys = [(facts.name.dataset, facts.createtxg, facts.name) for facts in reading.snapshots]
        assert keys == sorted(keys)
        names = {facts.name for facts in reading.datasets}
        for facts in reading.datasets:
            assert facts.name == self.world.home or facts.name.parent in names
            assert facts.mountpoint is not None or not facts.mounted
        for snapshot in reading.snapshots:
            assert snapshot.name.dataset in names
            assert not snapshot.deferred or snapshot.holds or snapshot.clones

    @invariant()
    def clones_and_origins_agree(self) -> None:
        reading = look(self.world)
        for facts in reading.datasets:
            if facts.origin is not None:
                origin = reading.snapshot(facts.origin)
                assert origin is not None
                assert facts.name in origin.clones
        for snapshot in reading.snapshots:
            for clone in snapshot.clones:
                live = reading.dataset(clone)
                assert live is not None
                assert live.origin == snapshot.name

    @invariant()
    def an_object_keeps_its_guid_and_its_birth(self) -> None:
        reading = look(self.world)
        present = [(facts.guid, facts.createtxg, "dataset") for facts in reading.datasets]
        present += [(facts.guid, facts.createtxg, "snapshot") for facts in reading.snapshots]
        assert len({guid for guid, _, _ in present}) == len(present)
        for guid, born, what in present:
            assert self.seen.setdefault(guid, (born, what)) == (born, what)

    @invariant()
    def it_can_be_loaded_from_any_reading(self) -> None:
        for facts in look(self.world).datasets[:3]:
            part = self.world.zfs.read([facts.name])
            assert MemoryZfs.from_readings(part.values()).read([facts.name]) == part


def test_any_sequence_leaves_a_possible_zfs() -> None:
    run_state_machine_as_test(Machine, settings=_SETTINGS)
