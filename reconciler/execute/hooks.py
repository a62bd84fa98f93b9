"""Run the operator's hooks around a checkpoint or a restore: the one after it follows, whatever happens between.

The hook before runs before the guest is stopped or frozen, so that a pause holds nothing but ZFS work. That it may
have begun is in the journal first: a run that is killed between the two leaves that to the next one, which runs the
hook after before anything else (``end_interrupted``). What a hook does is the operator's.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.errors import CkptreeError, ObservationFailed, StepFailed
from reconciler.model.actions import Action, Capture, Restore, Return, Start, WayBack, nodes_of
from reconciler.model.desired import DesiredVm, Hook, HookPair
from reconciler.model.journal import HookFailed, HooksBegun, HooksEnded, Occasion
from reconciler.model.observed import HostIdentity, Running
from reconciler.model.tree import derive_tree
from reconciler.names import Dataset, NodeName
from reconciler.observe.observer import observe
from reconciler.plan.gate import ELSEWHERE, closed_gates

if TYPE_CHECKING:
    from reconciler.execute.executor import Hands, Now

INTERRUPTED = "interrupted"
_LONGEST_ERROR = 4000  # characters in an environment, execve(2) takes 128 KiB at least
_WHAT = {Occasion.CHECKPOINT: "taken", Occasion.RESTORE: "restored"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """What hooks are run around: the guest goes from the branch BEFORE to AFTER, unless it GIVES UP."""

    occasion: Occasion
    nodes: tuple[NodeName, ...]
    before: Dataset
    after: Dataset
    volumes: tuple[str, ...]
    pair: HookPair
    gives_up: str = ""


@contextmanager
def hooked(action: Action, hands: "Hands", now: "Now") -> Iterator[None]:
    """Carry out ACTION inside: after the hook before it, and with the hook after it to follow in any case.

    Raises StepFailed: the hook before it failed, and then nothing was done; or the hook after it did, and then what
    was done stands. Without hooks this does nothing.
    """
    around = _around(action)
    if around is None or (around.pair.before is None and around.pair.after is None):
        yield
        return
    after = around.pair.after
    hands.journal.append(
        HooksBegun(
            at=now(),
            occasion=around.occasion,
            nodes=list(around.nodes),
            branch=hands.place.path_of(around.before),
            after=[] if after is None else list(after.run),
            timeout=0.0 if after is None else after.timeout.total_seconds(),
        )
    )
    try:
        if around.pair.before is not None:
            _before(around, hands, now)
        yield
    except BaseException as error:
        said = (isinstance(error, CkptreeError) and str(error)) or INTERRUPTED
        try:
            _end(replace(around, gives_up=said), hands, now)
        except CkptreeError as second:
            if isinstance(error, CkptreeError):
                raise StepFailed(f"{error}; and {second}") from error
        raise
    try:
        _end(around, hands, now)
    except StepFailed as error:
        names = ", ".join(around.nodes)
        raise StepFailed(f"{names}: {_WHAT[around.occasion]}, but {error}") from error


def _is_elsewhere(desired: DesiredVm, hands: "Hands", identity: HostIdentity) -> bool:
    seen = observe(desired, hands.zfs, hands.files, hands.guest, hands.journal, identity)
    tree = derive_tree(desired.vm, seen.reading, seen.link)
    return any(gate.reason in ELSEWHERE for gate in closed_gates(desired, seen, tree))


def end_interrupted(desired: DesiredVm, hands: "Hands", identity: HostIdentity, now: "Now") -> None:
    """Run the hook after what an interrupted run began, if one is owed; call it first, with the lock held.

    It stays owed where the VM is another host's now: there the guest is at rest.
    Raises StepFailed if that fails; it counts as run then, and is not owed any more.
    """
    try:
        begun = hands.journal.facts().hooks
    except ObservationFailed:
        return  # whoever observes next says so
    if begun is None or _is_elsewhere(desired, hands, identity):
        return
    pair = (
        desired.hooks.checkpoint if begun.occasion is Occasion.CHECKPOINT else desired.hooks.restore
    )
    after = pair.after or Hook(run=tuple(begun.after), timeout=timedelta(seconds=begun.timeout))
    branch = Dataset(f"{desired.dataset}/{begun.branch.rpartition('/')[2]}")
    around = _Around(
        occasion=begun.occasion,
        nodes=tuple(begun.nodes),
        before=branch,
        after=branch,
        volumes=tuple(disk.name for disk in desired.volume_disks),
        pair=HookPair(after=after),
        gives_up=INTERRUPTED,
    )
    _end(around, hands, now)


def _around(action: Action) -> _Around | None:
    match action:
        case Capture(nodes=nodes, branch=branch, hooks=pair):
            return _Around(
                occasion=Occasion.CHECKPOINT,
                nodes=nodes_of(action),
                before=branch.name,
                after=branch.name,
                volumes=tuple(name.dataset.leaf for name in nodes[0].snapshots[1:]),
                pair=pair,
            )
        case Restore(node=node, before=before, target=target, hooks=pair):
            return _Around(
                occasion=Occasion.RESTORE,
                nodes=(node,),
                before=target if before is None else before.name,
                after=target,
                volumes=action.before_volumes,
                pair=pair,
            )
        case Return(branch=branch, back=WayBack() as back, hooks=pair):
            return _Around(
                occasion=Occasion.RESTORE,
                nodes=(back.node,),
                before=back.branch.name,
                after=branch.name,
                volumes=back.volumes,
                pair=pair,
                gives_up="interrupted while the guest was being started",
            )
        case Start(branch=branch, back=WayBack() as back, hooks=pair):
            return _Around(
                occasion=Occasion.RESTORE,
                nodes=(back.node,),
                before=back.branch.name,
                after=branch.name,
                volumes=action.volumes,
                pair=pair,
            )
        case _:
            return None


def _before(around: _Around, hands: "Hands", now: "Now") -> None:
    hook, name = around.pair.before, f"before-{around.occasion.value}"
    if hook is None:
        return
    try:
        hands.hooks.run(hook, _environment(name, around, around.before, hands))
    except CkptreeError as error:
        hands.journal.append(HookFailed(at=now(), hook=name, error=str(error)))
        names = ", ".join(around.nodes)
        raise StepFailed(
            f"{names}: not {_WHAT[around.occasion]}, because the hook {name} failed: {error}"
        ) from error


def _end(around: _Around, hands: "Hands", now: "Now") -> None:
    """Run the hook after AROUND, if there is one; raises StepFailed if it fails."""
    hook, name = around.pair.after, f"after-{around.occasion.value}"
    problem: CkptreeError | None = None
    if hook is not None:
        failed = around.gives_up
        environment = _environment(name, around, around.before if failed else around.after, hands)
        environment["CKPTREE_RESULT"] = "failed" if failed else "done"
        environment["CKPTREE_ERROR"] = failed.replace("\0", "")[:_LONGEST_ERROR]
        try:
            hands.hooks.run(hook, environment)
        except CkptreeError as error:
            problem = error
            with suppress(CkptreeError):  # the next record will not be written either, and says so
                hands.journal.append(HookFailed(at=now(), hook=name, error=str(error)))
    hands.journal.append(HooksEnded(at=now(), occasion=around.occasion))
    if problem is not None:
        raise StepFailed(f"the hook {name} failed: {problem}") from problem


def _environment(name: str, around: _Around, branch: Dataset, hands: "Hands") -> dict[str, str]:
    place = hands.place
    return {
        "CKPTREE_VM": str(place.vm),
        "CKPTREE_HOOK": name,
        "CKPTREE_NODE": str(around.nodes[-1]),
        "CKPTREE_NODES": " ".join(around.nodes),
        "CKPTREE_DATASET": str(place.home),
        "CKPTREE_HOME": place.path,
        "CKPTREE_BRANCH": place.path_of(branch),
        "CKPTREE_GUEST": _guest(around, branch, hands).value,
    }


def _guest(around: _Around, branch: Dataset, hands: "Hands") -> Running:
    """Whether the guest runs; where its hypervisor does not say so, whether anybody has its disks open."""
    known = hands.guest.state().running
    if known is not Running.OFF:
        return known
    return hands.files.users([(hands.place.path_of(branch), branch)], around.volumes).running
