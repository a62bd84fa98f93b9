"""The part of ``ckptree init`` that knows vm-bhyve: its definition stays in the home and names the disks by the link.

vm-bhyve finds a guest by ``<guest>/<guest>.conf``, so that file and all that lies beside it belong in the home, while
the disks and the firmware's variables belong in the branch. Called by ``Initialiser`` twice: ``check`` before
anything is touched, ``settle`` when home, branch and link are there. The definition is moved last: as long as it is
not in the home vm-bhyve does not know the guest, so nobody can start a half-converted one.
"""

from collections.abc import Callable
from pathlib import Path

from reconciler.drivers.guests.vm_bhyve_conf import (
    Change,
    Conf,
    ConfDisk,
    Where,
    read_conf,
    write_conf,
)
from reconciler.drivers.guests.vm_bhyve_home import (
    UEFI_VARIABLES,
    make_uefi_variables,
    move_back,
    move_file,
)
from reconciler.errors import CkptreeError
from reconciler.model.desired import DesiredVm, Disk, FileDisk, VolumeDisk
from reconciler.model.observed import GuestState, Running

_MEMORY = ".ckptree"  # where a branch has memory files
_BEFORE = ".before-ckptree"


class VmBhyveInit:
    """What ``ckptree init`` does for GUEST, as vm-bhyve calls it; STATE looks at it, given its name and directory."""

    def __init__(
        self,
        desired: DesiredVm,
        guest: str,
        state: Callable[[str, str], GuestState],
        say: Callable[[str], None],
    ) -> None:
        self._desired = desired
        self._guest = guest
        self._state = state
        self._say = say

    @property
    def _conf_name(self) -> str:
        return f"{self._guest}.conf"

    def check(self, path: str, *, converting: bool) -> None:
        """Look at the dataset mounted at PATH before anything is touched; raises CkptreeError if it will not do.

        CONVERTING: it has the guest's disks and is to become a home.
        """
        self._require_name(Path(path))
        conf = read_conf(Path(path, self._conf_name))
        if conf is not None:
            self._compare(conf, path)
        elif converting:
            raise CkptreeError(
                f"{path} has disks of {self._desired.vm} but no {self._conf_name}, by which vm-bhyve finds the guest"
                " (put it there, or name another hypervisor)"
            )
        if converting:
            self._require_off(path)

    def settle(self, home: str, branch: str) -> None:
        """Bring the definition into HOME and let it name the disks by the link to BRANCH, both mounted paths.

        Raises CkptreeError; a later call goes on where this one ended.
        """
        try:
            self._require_name(Path(home))
            self._settle(Path(home), Path(branch))
        except OSError as error:
            where = error.filename or home
            raise CkptreeError(
                f"{where}: {error.strerror} (put it right, then 'ckptree init {self._desired.vm}' again)"
            ) from error

    def _settle(self, home: Path, branch: Path) -> None:
        path, kept = home / self._conf_name, home / f"{self._conf_name}{_BEFORE}"
        conf = read_conf(path)
        fresh = conf is None
        if conf is None:
            self._move_definition(home, branch, kept)
            conf = read_conf(kept)
        if conf is None:
            self._say(
                f"next: put the guest's definition at {path}, then 'ckptree init {self._desired.vm}' again"
            )
            return
        self._compare(conf, str(home))
        changed, changes = self._by_link(conf, str(home))
        if changes and not fresh:
            self._require_off(str(home))
        if changed.keeps_uefi_variables:
            self._link_uefi_variables(home, branch)
        if changes and not kept.exists():
            write_conf(kept, conf, path)
        if changes or fresh:
            write_conf(path, changed, kept)
            self._tell(path.name, kept.name, changes)
        else:
            self._say(f"{path} names every disk by the link already; nothing changed")
        for disk in conf.disks:
            if self._disk_of(disk, str(home)) is None and not disk.medium:
                self._say(
                    f"left disk{disk.number} at {disk.name}: it is not in the home, so no checkpoint keeps it"
                )

    def _by_link(self, conf: Conf, home: str) -> tuple[Conf, list[Change]]:
        """Let every disk of the document be opened through the link."""
        changes: list[Change] = []
        for disk in conf.disks:
            wanted = self._disk_of(disk, home)
            if wanted is not None and wanted in self._desired.disks:
                conf, made = conf.opened_at(disk.number, f"{home}/current/{_name(wanted)}")
                changes += made
        return conf, changes

    def _tell(self, name: str, kept: str, changes: list[Change]) -> None:
        for change in changes:
            self._say(f"changed {name}: {change}")
        self._say(
            f"the former {name} is {kept}; where the conf gives a disk no serial number it comes from the path,"
            " so a guest that names disks by serial number sees new ones"
        )

    def _require_name(self, directory: Path) -> None:
        if directory.name != self._guest:
            raise CkptreeError(
                f"vm-bhyve looks for guest {self._guest} in a directory of that name, and {self._desired.dataset}"
                f" is mounted at {directory} (name the dataset of that guest, or write 'guest: {directory.name}')"
            )

    # The definition against the document

    def _compare(self, conf: Conf, home: str) -> None:
        """Raise CkptreeError unless CONF and the document name the same disks; media need not be in it."""
        wanted = set(self._desired.disks)
        found = {self._disk_of(disk, home): disk for disk in conf.disks}
        faults = [
            f"the document has no {_words(ours)}, which is disk{disk.number} there (write it under 'disks')"
            for ours, disk in found.items()
            if ours is not None and ours not in wanted and not disk.medium
        ]
        faults += [
            f"there is no {_words(disk)} there (add it with 'vm add', or remove it from 'disks')"
            for disk in self._desired.disks
            if disk not in found
        ]
        if faults:
            raise CkptreeError(
                f"the disks of {self._conf_name} in {home} are not those of {self._desired.vm}'s document: "
                + "; ".join(faults)
            )

    def _disk_of(self, disk: ConfDisk, home: str) -> Disk | None:
        """What DISK is in the document's words; none if it does not lie in the home."""
        match disk.where:
            case Where.FILE:
                return FileDisk(disk.name)
            case Where.ZVOL:
                return VolumeDisk(disk.name)
            case Where.ELSEWHERE:
                return None
            case Where.CUSTOM:
                return self._disk_at(disk.name, home)

    def _disk_at(self, path: str, home: str) -> Disk | None:
        volumes = f"/dev/zvol/{self._desired.dataset}/"
        if path.startswith(volumes):
            return VolumeDisk(path.removeprefix(volumes))
        if not path.startswith(f"{home}/"):
            return None
        name = path.removeprefix(f"{home}/").removeprefix("current/")
        volume = VolumeDisk(name)
        return volume if volume in self._desired.disks else FileDisk(name)

    def _require_off(self, path: str) -> None:
        state = self._state(self._guest, path)
        if state.running is not Running.OFF:
            raise CkptreeError(
                f"{self._guest} is not off: {state.proof} (shut it down first: 'vm stop {self._guest}')"
            )
        if (Path(path) / f"{self._guest}.save").exists():
            raise CkptreeError(
                f"{self._guest} is suspended by 'vm suspend', and its RAM knows the disks by their old paths"
                f" ('vm start {self._guest}' and shut it down, or 'vm discard {self._guest}')"
            )

    # The files

    def _move_definition(self, home: Path, branch: Path, kept: Path) -> None:
        """Move all but the disks out of the branch, the definition last and under the name of its backup."""
        source = branch / self._conf_name
        conf = read_conf(source)
        if conf is None:
            return
        staying = {_name(disk).partition("/")[0] for disk in self._desired.disks}
        staying |= {_MEMORY, self._conf_name}
        if conf.keeps_uefi_variables:
            staying.add(UEFI_VARIABLES)
        moved, left = move_back(branch, home, staying)
        if not move_file(source, kept):
            raise CkptreeError(
                f"{kept} is in the way: it is another definition than {source} (move one of them away)"
            )
        self._say(f"moved {', '.join([self._conf_name, *moved])} back to {home}")
        if left:
            self._say(f"left {', '.join(left)} in {branch}: {home} has something else of that name")

    def _link_uefi_variables(self, home: Path, branch: Path) -> None:
        """Let the firmware's variables lie in the branch: what the guest's system writes there goes with its disks."""
        link, target = home / UEFI_VARIABLES, f"current/{UEFI_VARIABLES}"
        if link.is_symlink():
            return
        if link.exists() and not move_file(link, branch / UEFI_VARIABLES):
            raise CkptreeError(
                f"{link} and {branch}/{UEFI_VARIABLES} differ (keep the one that the guest is to have)"
            )
        make_uefi_variables(branch)
        if (branch / UEFI_VARIABLES).exists():
            link.symlink_to(target)
            self._say(f"linked {link} to the current branch's")


def _name(disk: Disk) -> str:
    return disk.path if isinstance(disk, FileDisk) else disk.name


def _words(disk: Disk) -> str:
    return disk.path if isinstance(disk, FileDisk) else f"{{zvol: {disk.name}}}"
