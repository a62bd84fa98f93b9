"""A plan in the making: what was decided so far, already carried out on a host in memory.

The parts of the planner add actions and conditions here and look at ``tree``, which shows what will exist then.
A guid of the host in memory never gets into an action: an object that the plan itself makes has none yet.
"""

from copy import copy
from dataclasses import replace
from datetime import datetime

from reconciler.errors import CkptreeError, PlanRefused
from reconciler.model.actions import Action
from reconciler.model.desired import DesiredVm
from reconciler.model.journal import JournalFacts, Left
from reconciler.model.observed import (
    DatasetFacts,
    GuestState,
    LinkTo,
    Observation,
    Reading,
    Running,
    SnapshotFacts,
)
from reconciler.model.plan import NO_RESTRAINT, Approval, Condition, Reason, Severity
from reconciler.model.steps import DatasetRef, Ref, SnapshotRef
from reconciler.model.tree import Branch, Lineage, Node, Tree, derive_tree
from reconciler.names import Dataset, NodeName, Snapshot, branch_name, branch_number
from reconciler.plan.expiry import Expired
from reconciler.plan.steps import steps_of
from reconciler.simulate.host import MemoryHost

SPARE_BYTES = 1 << 20
"""A snapshot of a pool with less left than this may fail half-way through a capture."""


class Draft:
    """The state that the parts of the planner share.

    ``desired`` is what ``file`` amounts to now: without the nodes whose time is over, which are ``expired``.
    ``windows`` are the VM's and its host's. With ``group`` or ``taken`` only that is taken, and nothing else.
    """

    def __init__(
        self, desired: DesiredVm, observation: Observation, tree: Tree, now: datetime
    ) -> None:
        self._now = now
        self.desired = self.file = desired
        self.expired = Expired()
        self.restraint = NO_RESTRAINT
        self.windows = desired.windows
        self.observation = observation
        self.actions: list[Action] = []
        self.conditions: list[Condition] = []
        self.settles_current = True
        self.approval: Approval | None = None
        self.host = MemoryHost.of(observation)
        self._real = {facts.guid for facts in observation.reading.datasets} | {
            facts.guid for facts in observation.reading.snapshots
        }
        self._reading: Reading | None = None
        self._tree: Tree | None = tree
        self.group: str | None = None
        self.taken: NodeName | None = None
        self.captured: set[NodeName] = set()
        self.capturing: NodeName | None = None
        self.started_on: NodeName | None = None
        self.started_unsaved = False
        self.confirmed = observation.journal.confirmed or not (
            observation.journal.exists or tree.nodes
        )

    def begin_captures(self) -> None:
        """Remember where the guest stands before anything is captured.

        A restore is judged by that: what was captured since moved the guest on, in this run or in one that the power
        cut short, and is no reason to take it back.
        """
        head = self.tree.head
        self.started_on = self.tree.position
        runs = self.observation.ability.managed and self.guest.running is Running.RUNNING
        self.started_unsaved = head is not None and (bool(head.unsaved) or runs)

    @property
    def journal(self) -> JournalFacts:
        """What the journal says."""
        return self.observation.journal

    @property
    def guest(self) -> GuestState:
        """Whether the guest runs once the actions so far are done."""
        return self.host.guest.state()

    @property
    def owes_start(self) -> bool:
        """Whether the guest is off because ckptree took it down and was interrupted before it ran again."""
        return (
            self.journal.stopped
            and self.observation.ability.managed
            and self.guest.running is Running.OFF
        )

    @property
    def link_stays_moved(self) -> bool:
        """Whether the link is wrong and cannot be put right now."""
        return any(
            condition.reason is Reason.LINK_MOVED and condition.severity is Severity.WAIT
            for condition in self.conditions
        )

    @property
    def now(self) -> datetime:
        """The moment for which this is planned."""
        return self._now

    @property
    def reading(self) -> Reading:
        """What ZFS will show once the actions so far are done."""
        if self._reading is None:
            self._reading = self.host.zfs.read([self.desired.dataset])[self.desired.dataset]
        return self._reading

    @property
    def tree(self) -> Tree:
        """What will exist once the actions so far are done."""
        if self._tree is None:
            link = self.host.files.read_link("")
            self._tree = derive_tree(self.desired.vm, self.reading, link)
        return self._tree

    def forget_tree(self) -> None:
        """Read and derive the tree anew when it is next looked at."""
        self._reading = self._tree = None

    def trial(self) -> "Draft":
        """Copy what was carried out so far, to try something that may not become part of the plan."""
        copied = copy(self)
        copied.host = self.host.copy()
        return copied

    def how_left(self, branch: Branch) -> Left | None:
        """How BRANCH was left when the guest went away from it; none if nothing tells."""
        guid = branch.facts.guid
        return self.host.left.get(guid, self.journal.left.get(guid))

    def add(self, action: Action) -> None:
        """Decide on ACTION and carry it out in memory; raises PlanRefused if it cannot work, which is a bug."""
        self.actions.append(action)
        for step in steps_of(self.desired.vm, self.desired.dataset, action):
            try:
                self.host.perform(step)
            except CkptreeError as error:
                raise PlanRefused(
                    f"no plan for {self.desired.vm} could be made: {type(action).__name__} cannot work here ({error});"
                    " nothing was done, please report this"
                ) from error
        self.forget_tree()

    def say(
        self,
        severity: Severity,
        reason: Reason,
        message: str,
        *,
        node: NodeName | None = None,
        resolve: str = "",
    ) -> None:
        """Add a condition."""
        condition = Condition(
            severity=severity, reason=reason, message=message, node=node, resolve=resolve
        )
        if condition not in self.conditions:
            self.conditions.append(condition)

    def note(
        self, reason: Reason, message: str, *, node: NodeName | None = None, resolve: str = ""
    ) -> None:
        """Add something that a person should know."""
        self.say(Severity.NOTE, reason, message, node=node, resolve=resolve)

    def wait(
        self, reason: Reason, message: str, *, node: NodeName | None = None, resolve: str
    ) -> None:
        """Add something that is not done until something else happens."""
        self.say(Severity.WAIT, reason, message, node=node, resolve=resolve)

    def refuse(
        self, reason: Reason, message: str, *, node: NodeName | None = None, resolve: str
    ) -> None:
        """Add something that is not done as the file says it."""
        self.say(Severity.REFUSAL, reason, message, node=node, resolve=resolve)

    def unconfirmed(self, message: str) -> None:
        """Wait for a person, because no journal tells what was applied before."""
        self.wait(
            Reason.UNCONFIRMED,
            f"{message}: no journal tells what was applied here before",
            resolve=f"look at 'ckptree tree {self.desired.vm}', then run"
            f" 'ckptree apply --confirm {self.desired.vm}'",
        )

    def has(self, *reasons: Reason) -> bool:
        """Whether one of REASONS was given."""
        return any(condition.reason in reasons for condition in self.conditions)

    def dataset_ref(self, facts: DatasetFacts) -> DatasetRef:
        """Refer to a dataset, guarded if it exists already."""
        return DatasetRef(facts.name, self._guard(facts.guid))

    def snapshot_ref(self, facts: SnapshotFacts) -> SnapshotRef:
        """Refer to a snapshot, guarded if it exists already."""
        return SnapshotRef(facts.name, self._guard(facts.guid))

    def node_refs(self, node: Node) -> tuple[SnapshotRef, ...]:
        """Refer to all snapshots of NODE, the branch's own first."""
        return tuple(self.snapshot_ref(facts) for facts in node.all_snapshots)

    def unguarded_if_new(self, ref: Ref) -> Ref:
        """Drop the guid of REF if the plan itself makes the object."""
        return replace(ref, guid=None if ref.guid is None else self._guard(ref.guid))

    def _guard(self, guid: int) -> int | None:
        return guid if guid in self._real else None

    def anchor(self, name: NodeName | None) -> NodeName | None:
        """The nearest node at or below NAME that the file has and that is not retired."""
        return next(
            (
                node.name
                for node in self.tree.ancestors(name)
                if node.retired is None and node.name in self.desired.by_name
            ),
            None,
        )

    def node_below(self, facts: SnapshotFacts) -> NodeName | None:
        """The nearest node in the lineage of a foreign snapshot."""
        ours = {node.snapshot.guid: node.name for node in self.tree.nodes.values()}
        older = Lineage(self.reading).of(facts.name.dataset, facts)
        return next((ours[other.guid] for other in older if other.guid in ours), None)

    def position_of(self, branch: Branch) -> NodeName | None:
        """The nearest node in the lineage of BRANCH."""
        ours = {node.snapshot.guid: node.name for node in self.tree.nodes.values()}
        lineage = Lineage(self.reading).of(branch.facts.name)
        return next((ours[facts.guid] for facts in lineage if facts.guid in ours), None)

    def next_branch(self) -> tuple[Dataset, int]:
        """Name the next branch and tell its number; never one that anything under the home has.

        Nor one that the link names: a link that leads nowhere must not lead to a branch that is being made.
        """
        taken = {facts.name for facts in self.reading.datasets}
        numbers = [branch.number for branch in self.tree.branches]
        link = self.host.files.link
        if isinstance(link, LinkTo):
            numbers.append(branch_number(link.target.rstrip("/").rpartition("/")[2]) or 0)
        number = 1 + max(numbers, default=0)
        while branch_name(self.desired.dataset, number) in taken:
            number += 1
        return branch_name(self.desired.dataset, number), number

    def free_short_name(self, name: NodeName) -> str:
        """Choose the physical name of node NAME: its own, or with a suffix where something has that already."""
        taken = {facts.name.short for facts in self.reading.snapshots}
        short, suffix = str(name), 2
        while short in taken:
            short, suffix = f"{name}-{suffix}", suffix + 1
        return short

    def set_of(self, branch: Dataset, short: str) -> tuple[Snapshot, ...]:
        """Name the snapshots SHORT of BRANCH and its volumes."""
        found = self.tree.branch(branch)
        volumes = () if found is None else found.volumes
        return (branch.snapshot(short), *(volume.name.snapshot(short) for volume in volumes))
