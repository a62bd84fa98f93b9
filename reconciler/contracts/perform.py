"""Carry out one step on a host, real or in memory: the one place where a step becomes calls.

It decides nothing and remembers nothing. Who calls it (``execute``, ``simulate``) does the journal, the lock and
the order.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import assert_never

from reconciler.contracts.files import Files
from reconciler.contracts.guest import Guest
from reconciler.contracts.zfs import Zfs
from reconciler.errors import CkptreeError, HoldLost, StepFailed, ZfsErrorKind, ZfsRefused
from reconciler.model import properties
from reconciler.model.observed import LinkAbsent, Running
from reconciler.model.steps import (
    CloneDataset,
    DatasetRef,
    Destroy,
    DropMemory,
    EnsureSaved,
    EnsureUnused,
    EnsureUsed,
    Hold,
    Mount,
    PrepareBranch,
    Promote,
    Ref,
    Rollback,
    SetCanmount,
    SetProperties,
    SettleBranch,
    SnapshotRef,
    StartGuest,
    Step,
    StopGuest,
    SwitchLink,
    TakeFrozen,
    TakeSnapshots,
    Unmount,
)
from reconciler.model.tree import derive_tree
from reconciler.names import Dataset, Snapshot, VmName


@dataclass(frozen=True, slots=True)
class Place:
    """Where VM lives: its HOME and the PATH at which that is mounted; branches are mounted below it."""

    vm: VmName
    home: Dataset
    path: str

    def path_of(self, branch: Dataset) -> str:
        """Where BRANCH is mounted."""
        return f"{self.path}/{branch.leaf}"


def perform(step: Step, zfs: Zfs, files: Files, guest: Guest, place: Place) -> None:  # noqa: C901 - one case a step
    """Carry out STEP; raises ZfsRefused or StepFailed, and then it has not happened."""
    match step:
        case TakeSnapshots(_, snapshots, values):
            zfs.snapshot(snapshots, dict(values))
        case Hold(snapshots):
            _guard(zfs, *snapshots)
            zfs.hold([ref.name for ref in snapshots])
        case CloneDataset(origin, target, volume, values):
            _guard(zfs, origin)
            zfs.clone(origin.name, target, dict(values), volume=volume)
        case SetProperties(target_ref, changes):
            _guard(zfs, target_ref)
            zfs.set_properties(target_ref.name, dict(changes))
        case SetCanmount(branch, value):
            _guard(zfs, branch)
            zfs.set_canmount(branch.name, value)
        case Mount(branch):
            _guard(zfs, branch)
            zfs.mount(branch.name)
        case Unmount(branch, patient):
            _guard(zfs, branch)
            _unmount(zfs, branch.name, patient=patient)
        case PrepareBranch(branch, volumes, paths):
            files.prepare(place.path_of(branch.name), branch.name, paths, volumes)
            _settle(zfs, place, branch, properties.MAKING)
        case SettleBranch(branch):
            _guard(zfs, branch)
            _settle(zfs, place, branch, None)
        case EnsureSaved(branch):
            _ensure_saved(zfs, place, branch)
        case EnsureUnused(branch, volumes):
            _ensure_unused(files, place, branch, volumes)
        case EnsureUsed(branch, volumes):
            _ensure_used(files, place, branch, volumes)
        case SwitchLink(_, branch):
            _guard(zfs, branch)
            files.switch_link(place.path, branch.name.leaf)
        case TakeFrozen():
            _guard(zfs, step.branch)
            _take_frozen(step, zfs, files, guest, place)
        case StopGuest(_, now):
            guest.stop(now=now)
        case StartGuest():
            _guard(zfs, step.branch)
            _start(step, files, guest, place)
        case DropMemory(branch, memory):
            _guard(zfs, branch)
            files.drop_memory(place.path_of(branch.name), branch.name, memory)
        case Promote(clones):
            _guard(zfs, *clones)
            zfs.promote([ref.name for ref in clones])
        case Destroy(targets):
            zfs.destroy(targets)
        case Rollback(dataset, snapshot):
            zfs.rollback(dataset, snapshot)
        case _:
            assert_never(step)


def _guard(zfs: Zfs, *refs: Ref) -> None:
    """Refuse if a name stands for another object than the plan saw."""
    guarded = [ref for ref in refs if ref.guid is not None]
    if not guarded:
        return
    found = zfs.guids([ref.name for ref in guarded])
    for ref in guarded:
        if ref.name not in found:
            raise ZfsRefused(ZfsErrorKind.NOT_FOUND, ref.name)
        if found[ref.name] != ref.guid:
            detail = f"guid {found[ref.name]}, the plan saw {ref.guid}"
            raise ZfsRefused(ZfsErrorKind.GUID_CHANGED, ref.name, detail)


def _take_frozen(step: TakeFrozen, zfs: Zfs, files: Files, guest: Guest, place: Place) -> None:
    path, dataset = place.path_of(step.branch.name), step.branch.name
    files.prepare_memory(path, dataset, step.memory)
    try:
        with guest.frozen(files.memory_path(path, dataset, step.memory)) as hold:
            for take in step.takes:
                zfs.snapshot(take.snapshots, dict(take.properties))
            if step.ends:
                hold.end()
    except CkptreeError as error:
        if guest.state().running is not Running.OFF:
            # Nobody may ever resume what the guest went on from. Where it is off, its RAM waits for its start.
            with suppress(CkptreeError):
                files.drop_memory(path, dataset, step.memory)
            if isinstance(error, HoldLost):
                undo_snapshots(zfs, [name for take in step.takes for name in take.snapshots])
        raise


def undo_snapshots(zfs: Zfs, snapshots: Sequence[Snapshot]) -> None:
    """Destroy SNAPSHOTS, taken a moment ago of a guest that was no longer frozen: they are not what they say."""
    found = zfs.guids(snapshots)
    zfs.destroy([SnapshotRef(name, found[name]) for name in snapshots if name in found])


def _start(step: StartGuest, files: Files, guest: Guest, place: Place) -> None:
    path, dataset = place.path_of(step.branch.name), step.branch.name
    missing = files.missing(path, dataset, step.files, step.volumes)
    if missing:
        raise StepFailed(f"{dataset} has no {', '.join(missing)}, so the guest is not started")
    resumed = f"{properties.MEMORY_FOLDER}/{properties.RESUMED}"
    for memory in (*files.live_memory(path, dataset), resumed):
        if memory != step.memory:
            files.drop_memory(path, dataset, memory)
    guest.start(None if step.memory is None else files.memory_path(path, dataset, step.memory))


def _unmount(zfs: Zfs, branch: Dataset, *, patient: bool) -> None:
    try:
        zfs.unmount(branch)
    except ZfsRefused as refused:
        if not patient or refused.kind is not ZfsErrorKind.BUSY:
            raise


def _ensure_used(files: Files, place: Place, branch: DatasetRef, volumes: tuple[str, ...]) -> None:
    state = files.users([(place.path_of(branch.name), branch.name)], volumes)
    if state.running is Running.OFF:
        raise StepFailed(
            f"the guest runs, but not on {branch.name}: its definition must name its disks through the link 'current'"
        )


def _settle(zfs: Zfs, place: Place, branch: DatasetRef, before: str | None) -> None:
    # Setting a property waits for a transaction group: after it ``written`` counts what was just written.
    zfs.set_properties(branch.name, {properties.BASELINE: before})
    reading = zfs.read([place.home])[place.home]
    found = derive_tree(place.vm, reading, LinkAbsent()).branch(branch.name)
    if found is None:
        raise ZfsRefused(ZfsErrorKind.NOT_FOUND, branch.name)
    zfs.set_properties(branch.name, {properties.BASELINE: found.baseline})


def _ensure_saved(zfs: Zfs, place: Place, branch: DatasetRef) -> None:
    zfs.sync(place.home)
    reading = zfs.read([place.home])[place.home]
    found = derive_tree(place.vm, reading, LinkAbsent()).branch(branch.name)
    if found is not None and found.unsaved:
        raise StepFailed(
            f"{branch.name} was written to since the plan was made, {found.unsaved} bytes; plan again"
        )


def _ensure_unused(
    files: Files, place: Place, branch: DatasetRef, volumes: tuple[str, ...]
) -> None:
    state = files.users([(place.path_of(branch.name), branch.name)], volumes)
    if state.running is Running.RUNNING:
        raise StepFailed(f"{branch.name} is in use: {state.proof}; stop the guest and try again")
    if state.running is Running.UNKNOWN:
        raise StepFailed(f"it cannot be told whether {branch.name} is in use: {state.proof}")
