"""The documents in force: the last valid one of every file, whatever was written since.

Pure but for the reading itself, which is ``spec``'s. A file that became faulty keeps its last valid document in
force; one that is gone or empty releases its VM; a folder that cannot be read changes nothing (invariant 9).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.errors import CkptreeError
from reconciler.model.desired import DesiredVm
from reconciler.names import VmName
from reconciler.source.contract import Source
from reconciler.spec.load import SUFFIXES, Loaded, load_path, of_revision
from reconciler.spec.text import LARGEST_FILE


@dataclass(frozen=True, slots=True)
class InForce:
    """The VMS to be acted on, in order; FAULTS of the files in words; STALE VMs are described by older documents.

    REVISION is that of the repository whose documents were read last.
    """

    vms: tuple[DesiredVm, ...] = ()
    faults: tuple[str, ...] = ()
    stale: frozenset[VmName] = frozenset()
    revision: str | None = None
    by_name: Mapping[VmName, DesiredVm] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the VMs once."""
        object.__setattr__(self, "by_name", {vm.vm: vm for vm in self.vms})

    def changed_since(self, before: "InForce") -> frozenset[VmName]:
        """The VMs whose document is another one than BEFORE, new and released ones included."""
        names = self.by_name.keys() | before.by_name.keys()
        return frozenset(
            name
            for name in names
            if _stamp(self.by_name.get(name)) != _stamp(before.by_name.get(name))
        )


@dataclass(frozen=True, slots=True)
class Known:
    """Which documents were read: their FINGERPRINT, and the REVISION of the repository that they are of."""

    fingerprint: str
    revision: str | None


def known_at(path: Path, revision: str | None) -> Known | None:
    """Tell which documents are at PATH, of REVISION; none if that cannot be told.

    What has the same fingerprint need not be read again: understanding 200 documents takes seconds.
    """
    digest = hashlib.sha256()
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        digest.update(str(path.stat().st_mode).encode())
        for file in files:
            if file.suffix in SUFFIXES and file.is_file():
                mode = file.stat().st_mode
                with file.open("rb") as stream:
                    content = hashlib.sha256(stream.read(LARGEST_FILE + 1)).hexdigest()
                digest.update(f"{file}\0{mode}\0{content}\0".encode("utf-8", "surrogateescape"))
            elif file.suffix in SUFFIXES:
                digest.update(f"{file}\0".encode("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return None
    return Known(digest.hexdigest(), revision)


def _stamp(vm: DesiredVm | None) -> tuple[str, str] | None:
    return None if vm is None else (vm.position.file, vm.digest)


def counts(in_force: InForce, vm: DesiredVm) -> bool:
    """Tell whether VM is what is IN FORCE, and its file has it still, whatever was told of that file."""
    if _stamp(in_force.by_name.get(vm.vm)) != _stamp(vm):
        return False
    if vm.vm in in_force.stale:
        return True
    try:
        data = Path(vm.position.file).read_bytes()
    except OSError:
        return False
    return hashlib.sha256(data).hexdigest() == vm.digest


def read_again(before: InForce, path: Path, source: Source) -> InForce:
    """Read the documents at PATH, from SOURCE; what cannot be read or is faulty stays as it was BEFORE."""
    revision = source.revision
    try:
        loaded = load_path(path)
        while revision != (after := source.revision):  # another one came while it was read
            revision, loaded = after, load_path(path)
    except CkptreeError as error:
        return replace(before, faults=(str(error),), stale=frozenset(before.by_name))
    return put_in_force(before, of_revision(loaded, revision), revision)


def put_in_force(before: InForce, loaded: Loaded, revision: str | None) -> InForce:
    """Lay what was LOADED, of REVISION, over what was in force BEFORE."""
    faulty = {finding.position.file for finding in loaded.findings}
    names = {vm.vm for vm in loaded.vms}
    places = {vm.dataset for vm in loaded.vms}
    kept = [
        vm
        for vm in before.vms
        if vm.position.file in faulty
        and vm.vm not in names
        and not any(
            vm.dataset == place or vm.dataset.below(place) or place.below(vm.dataset)
            for place in places
        )
    ]
    return InForce(
        vms=tuple(sorted((*loaded.vms, *kept), key=lambda vm: vm.vm)),
        faults=tuple(str(finding) for finding in loaded.findings),
        stale=frozenset(vm.vm for vm in kept),
        revision=revision,
    )
