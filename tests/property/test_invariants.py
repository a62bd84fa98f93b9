"""The invariants of design section 10, by number, over whatever an operator, a guest, other tools and the power do.

CKPTREE_EXAMPLES sets how many random lives of each kind of VM are tried (the default is what one slow core does in
minutes); a run without it is the same each time.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from hypothesis import HealthCheck, settings

from reconciler.errors import CkptreeError, ObservationFailed, PlanRefused
from reconciler.execute.apply import Result
from reconciler.execute.notes import anything_to_write
from reconciler.model.actions import Collect, DestroyNodes, Restore
from reconciler.model.desired import DesiredNode, DesiredVm, Unsaved
from reconciler.model.journal import GuestSeen, Left, facts_of
from reconciler.model.observed import Running
from reconciler.model.plan import Plan, Severity
from reconciler.model.tree import Node, Tree
from reconciler.plan.document import to_json
from reconciler.plan.due import next_due
from reconciler.plan.planner import make_plan
from tests.support.faults import Fuse, PowerCut
from tests.support.life import Deeds
from tests.support.picture import (
    all_contents,
    branch_content,
    dirty_tips,
    everything,
    foreign,
    node_content,
    node_memory,
    outcome,
)
from tests.support.world import MANAGED

EXAMPLES = os.environ.get("CKPTREE_EXAMPLES")


class Life(Deeds):
    """The life of a VM with file disks only, and what must be true of it."""

    def then(self, then: str, at: int) -> None:
        """Apply the file, as THEN says; the power goes at AT."""
        self.purging = then == "purge"
        confirm = then in {"confirm", "cut"}
        if then == "blind":
            self._apply_while_unreadable(at)
        elif then == "cut":
            self._apply_with_power_cut(at, confirm=confirm)
        elif then != "nothing":
            self._checked(lambda vm: self._apply(vm, confirm=confirm, purge=self.purging))
        self.operator.suspend = False

    def _apply_with_power_cut(self, at: int, *, confirm: bool) -> None:
        vm = self.operator.file()
        other = self.world.copy()
        fuse = Fuse()
        try:
            other.apply(vm, confirm=confirm, fuse=fuse)
        except PlanRefused:
            raise
        except CkptreeError:
            return

        def deed(vm: DesiredVm) -> Result | None:
            for place in [at % (fuse.count + 1), *([at // 20] if at % 3 == 0 else [])]:
                with suppress(PowerCut):
                    self.world.apply(vm, confirm=confirm, fuse=Fuse(place))
            return self._apply(vm, confirm=confirm)

        self._checked(deed)
        got, want = outcome(self.world), outcome(other)
        differ = {key: (got[key], want[key]) for key in want if got[key] != want[key]}
        assert not differ, f"4: a crash and a new run end elsewhere: {differ}"

    def _apply_while_unreadable(self, number: int) -> None:
        """Invariant 8: what cannot be read is not absent, and nothing is touched."""
        before = everything(self.world)
        broken = self.world.copy()
        broken.blind(number)
        try:
            result = broken.apply(self.operator.file(), confirm=True, purge=True)
        except ObservationFailed:
            pass
        else:
            self._explained(result.done)
            assert not result.done.actions, "8: acted on half a reading"
        assert everything(broken) == before, "8: changed something on half a reading"

    def _plan(self, vm: DesiredVm) -> Plan:
        """Plan; nothing but a CkptreeError may come out (invariant 10), and twice the same."""
        observation = self.world.observe(vm)
        before = everything(self.world)
        plan = self.world.plan(vm)
        again = self.world.plan(vm)
        assert to_json(plan) == to_json(again), "the same input gave another plan"
        assert self.world.observe(vm) == observation
        assert everything(self.world) == before, "planning changed something"
        self._explained(plan)
        return plan

    def _explained(self, plan: Plan) -> None:
        for condition in plan.conditions:
            if condition.severity is not Severity.NOTE:
                assert condition.resolve, (
                    f"10: {condition.reason} says nothing that would resolve it"
                )

    def _apply(self, vm: DesiredVm, *, confirm: bool = False, purge: bool = False) -> Result | None:
        """Apply; PlanRefused would be a bug of the planner."""
        try:
            result = self.world.apply(vm, confirm=confirm, purge=purge)
        except PlanRefused:
            raise
        except CkptreeError:
            return None
        self._explained(result.done)
        return result

    def _checked(self, deed: Callable[[DesiredVm], Result | None]) -> None:
        vm, world = self.operator.file(), self.world
        self._plan(vm)
        guest_before = world.files.guest.running
        foreign_before, tree, tips = foreign(world), world.tree, dirty_tips(world)
        contents = self._node_contents()
        result = deed(vm)
        self._foreign_untouched(foreign_before, vm)
        self._nodes_stay_what_they_are(contents)
        self._only_what_may_go(tree, vm)
        self._unsaved_kept(tips, vm)
        assert world.files.guest.running is guest_before, "5: the guest was left in another state"
        if result is not None:
            self._restored_exactly(result)
            self._at_rest(vm, result)

    def _node_contents(self) -> dict[int, tuple[str, ...]]:
        return {
            node.guid: node_content(self.world, node) for node in self.world.tree.nodes.values()
        }

    def _foreign_untouched(self, before: dict[str, object], vm: DesiredVm) -> None:
        after = foreign(self.world)
        adopted = {
            facts.name
            for node in self.world.tree.nodes.values()
            if node.name in vm.by_name and vm.by_name[node.name].adopt is not None
            for facts in node.all_snapshots
        }
        for thing, facts in before.items():
            if thing in adopted or (after.get(thing) is None and self._was_adopted(facts)):
                continue
            assert after.get(thing) == facts, f"1: foreign {thing} was changed"
        assert set(after) <= set(before), "1: something appeared that is nobody's"

    def _was_adopted(self, facts: object) -> bool:
        """A snapshot that was adopted, and moved by a promote or retired since, in the same run."""
        guid = facts[0] if isinstance(facts, tuple) else None
        return any(
            guid in {s.guid for s in node.all_snapshots} for node in self.world.tree.nodes.values()
        )

    def _nodes_stay_what_they_are(self, before: dict[int, tuple[str, ...]]) -> None:
        for guid, contents in self._node_contents().items():
            assert before.get(guid, contents) == contents, "6: a node's content changed"
            assert len(set(contents)) == 1, "6: a node's disks are of different instants"

    def _only_what_may_go(self, before: Tree, vm: DesiredVm) -> None:
        after = self.world.tree
        left = {node.guid for node in after.nodes.values()}
        now, grace = self.world.now, vm.prune.grace
        for node in before.nodes.values():
            if node.guid in left:
                continue
            wanted = vm.by_name.get(node.name)
            if wanted is None:
                assert not node.protect, f"2: {node.name} is protected and was destroyed"
            else:
                assert _over(wanted, node, now), f"2: {node.name} is desired and was destroyed"
                assert not wanted.protect, f"2: {node.name} is protected and was destroyed"
                assert node.name != vm.current, f"2: {node.name} is current and was destroyed"
            if vm.nodes and node.name == before.position and _guid(before) == _guid(after):
                still = {other.name for other in before.ancestors(before.position)}
                assert after.position not in {None, *still}, f"2: the guest stood on {node.name}"
            if node.name.automatic and node.retired is None:
                assert node.expires is not None, f"2: {node.name} does not expire"
                assert node.expires <= now, f"2: {node.name} has not expired yet"
            elif not self.purging:
                since = now if node.retired is None else node.retired
                assert since + grace <= now, f"2: {node.name} was destroyed within its grace"

    def _unsaved_kept(self, tips: dict[int, str], vm: DesiredVm) -> None:
        there = all_contents(self.world)
        left = facts_of(self.world.journal.records).left
        for guid, content in tips.items():
            if left.get(guid) is Left.DISCARDED or vm.restore.unsaved is Unsaved.DISCARD:
                self.given_up.add(content)
            if content not in self.given_up:
                assert content in there, f"7: the unsaved {content} is lost"

    def _restored_exactly(self, result: Result) -> None:
        restores = [action for action in result.done.actions if isinstance(action, Restore)]
        if not restores:
            return
        tree = self.world.tree
        node = tree.nodes[restores[-1].node]
        assert tree.head is not None
        want, got = node_content(self.world, node), branch_content(self.world, tree.head)
        assert set(want) == set(got), "6: the guest was not given the node's disks"
        assert len(want) == len(got), "6: the guest has not all disks of the node"
        if restores[-1].starts:
            resumed = restores[-1].memory is not None
            ram = node_memory(self.world, node) if resumed else ""
            assert self.world.guest.ram == ram, "6: the guest was not given the node's memory"

    def _at_rest(self, vm: DesiredVm, result: Result) -> None:
        if self.purging:
            assert all(isinstance(act, DestroyNodes | Collect) for act in result.done.actions), (
                "purge"
            )
        else:
            left = result.left.actions
            assert not left, f"3: there is still something to do: {left}"
            self._nothing_before_it_is_due(vm)
        before = everything(self.world)
        second = self.world.apply(vm, purge=self.purging)
        assert not second.done.actions, f"3: a second apply does {second.done.actions}"
        assert everything(self.world) == before, "3: a second apply changed something"
        seen = self.world.observe(vm)
        plan = make_plan(vm, seen, self.world.now)
        settled = plan.hands_off or not anything_to_write(vm, plan, seen)
        assert self.purging or settled, "3: a daemon would never rest"

    def _nothing_before_it_is_due(self, vm: DesiredVm) -> None:
        """Invariant 3, over time: what is at rest stays so until next_due."""
        world = self.world
        due = next_due(vm, world.observe(vm), world.now)
        last = world.now + timedelta(days=400) if due is None else due - timedelta(seconds=1)
        actions = make_plan(vm, world.observe(vm), last).actions
        assert not actions, f"3: before {due} there is {actions} to do, by time alone"


def _over(wanted: DesiredNode, node: Node, now: datetime) -> bool:
    """Whether the file itself says that NODE is not wanted any more."""
    ends = [] if wanted.expires is None else [wanted.expires]
    if wanted.keep is not None and node.taken is not None:
        ends.append(node.taken + wanted.keep)
    return any(end <= now for end in ends)


def _guid(tree: Tree) -> int | None:
    return None if tree.head is None else tree.head.facts.guid


class LifeOfRunningGuest(Life):
    """The life of a guest that ckptree runs itself, with memory that tells which disks it belongs to."""

    ability = MANAGED
    volumes = ("disk1",)

    def then(self, then: str, at: int) -> None:
        """Apply the file; mostly the guest runs meanwhile, and has something in RAM that no checkpoint has."""
        if at % 4:
            self.guest("start")
            self.guest("write")
        super().then(then, at)

    def guest(self, deed: str) -> None:
        """Let the guest write, start or stop; it boots and shuts down by `ckptree start` and `stop`."""
        world = self.world
        off = world.files.guest.running is Running.OFF
        if deed == "write":
            super().guest("write")
            world.guest.ram = "" if off else f"ram at {self.written}"
        elif deed == "stop":
            self._stop()
            world.guest.ram = ""
            world.journal.append(GuestSeen(at="", running=False, by="test"))
        elif off and world.tree.head is not None and world.tree.head.facts.mounted:
            world.boot(f"ram at {self.written}")
            world.forget_memory()


class LifeWithVolume(Life):
    """The life of a VM with one volume."""

    volumes = ("disk1",)


class LifeWithVolumes(Life):
    """The life of a VM with two volumes."""

    volumes = ("disk1", "disk2")


_settings = settings(
    max_examples=int(EXAMPLES or 60),
    stateful_step_count=50,
    deadline=None,
    derandomize=EXAMPLES is None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
TestLife = Life.TestCase
TestLife.settings = _settings
TestLifeOfRunningGuest = LifeOfRunningGuest.TestCase
TestLifeOfRunningGuest.settings = _settings
TestLifeWithVolume = LifeWithVolume.TestCase
TestLifeWithVolume.settings = _settings
TestLifeWithVolumes = LifeWithVolumes.TestCase
TestLifeWithVolumes.settings = _settings
