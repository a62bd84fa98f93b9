"""A plan: the actions that make what exists equal to what is desired, and what stands in the way of the rest."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from reconciler.errors import ExitCode
from reconciler.model.actions import Action, DoomedNode
from reconciler.names import Dataset, NodeName, VmName


class Severity(Enum):
    """How much a condition matters."""

    NOTE = "note"
    WAIT = "wait"
    REFUSAL = "refusal"


class Reason(Enum):
    """Every reason that a condition can have; the names are what operators search for."""

    ADOPT_IMPOSSIBLE = "AdoptImpossible"
    AWAITING_APPROVAL = "AwaitingApproval"
    CLOCK_JUMPED = "ClockJumped"
    CURRENT_BEHIND_HEAD = "CurrentBehindHead"
    CURRENT_NOT_TAKEN = "CurrentNotTaken"
    DISK_MISSING = "DiskMissing"
    EXPIRED = "Expired"
    FOREIGN_CLONE = "ForeignClone"
    FOREIGN_HOLD = "ForeignHold"
    FOREIGN_IN_THE_WAY = "ForeignInTheWay"
    GROUP_PENDING = "GroupPending"
    GUEST_RUNNING = "GuestRunning"
    GUEST_STARTED = "GuestStarted"
    HEAD_DRIFTED = "HeadDrifted"
    HEAD_LOST = "HeadLost"
    HOOK_OWED = "HookOwed"
    LINK_MOVED = "LinkMoved"
    LOST = "Lost"
    MEMORY_NOT_KEPT = "MemoryNotKept"
    MEMORY_NOT_RESUMED = "MemoryNotResumed"
    MEMORY_UNAVAILABLE = "MemoryUnavailable"
    NOT_INITIALISED = "NotInitialised"
    NOT_PRUNED = "NotPruned"
    OBSERVATION_INCOMPLETE = "ObservationIncomplete"
    OTHER_HOST = "OtherHost"
    OUTSIDE_WINDOW = "OutsideWindow"
    OWNED_ELSEWHERE = "OwnedElsewhere"
    PARENT_IMMUTABLE = "ParentImmutable"
    PARENT_NOT_CURRENT = "ParentNotCurrent"
    PARENT_MISSING = "ParentMissing"
    PINNED = "Pinned"
    POOL_FULL = "PoolFull"
    POOL_UNAVAILABLE = "PoolUnavailable"
    PROTECTED = "Protected"
    RESTORE_FAILED = "RestoreFailed"
    RESTRAINED = "Restrained"
    SCHEDULE_WAITS = "ScheduleWaits"
    SUSPECTED_RENAME = "SuspectedRename"
    SUSPENDED = "Suspended"
    TAMPERED = "Tampered"
    UNCONFIRMED = "Unconfirmed"
    UNSAVED_STATE = "UnsavedState"
    UNSAVED_TIP = "UnsavedTip"
    WHEN_MANUAL = "WhenManual"
    WOULD_DROP_HEAD = "WouldDropHead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that the plan does not do, or that a person should know, and what would RESOLVE it."""

    severity: Severity
    reason: Reason
    message: str
    node: NodeName | None = None
    resolve: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Removals that wait for a person, who allows exactly these NODES by naming DIGEST."""

    digest: str
    nodes: tuple[DoomedNode, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restraint:
    """What a plan must not do now, and why, in words that end a sentence; an empty text holds nothing back.

    REMOVALS: nothing is retired, destroyed or restored, whatever the file says. AGEING: nothing is
    retired or destroyed because of its age alone (grace, expiry), as the clock cannot be trusted.
    """

    removals: str = ""
    ageing: str = ""


NO_RESTRAINT = Restraint()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done for one VM.

    ``digest`` covers the actions, the conditions and ``file_digest``; two plans with the same digest do the same.
    ``settles_current`` tells that ``current`` and ``again`` of the file count as applied once this plan is through.
    ``capturing`` is ``current`` where that is reached without a restore: taken by this plan, or where the guest stood.
    ``hands_off`` tells that nothing at all may be written, not even into the journal.
    ``approval`` is what a person may approve where removals wait for that.
    """

    vm: VmName
    home: Dataset
    actions: tuple[Action, ...]
    conditions: tuple[Condition, ...]
    now: datetime
    file: str
    file_digest: str
    digest: str
    settles_current: bool
    capturing: NodeName | None = None
    hands_off: bool = False
    approval: Approval | None = None

    @property
    def blocked(self) -> bool:
        """Whether something waits or is refused."""
        return any(condition.severity is not Severity.NOTE for condition in self.conditions)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of `ckptree plan` for this VM."""
        if self.actions:
            return ExitCode.CHANGES
        return ExitCode.BLOCKED if self.blocked else ExitCode.NOTHING_TO_DO
