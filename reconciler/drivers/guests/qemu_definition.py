"""What the arguments of a QEMU guest say about it: its disks, its RAM, and what would stand in our way.

Reads words only: no file, no process. ``qemu`` (what can be done with the guest) and ``keeper.qemu`` (which starts
it) must agree on them. ``qemu_options`` takes them apart, ``disk_paths`` judges where the disks are; only what matters
here is understood, the rest is left alone.
"""

import hashlib
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from reconciler.drivers.guests.disk_paths import LINK, DiskPaths
from reconciler.drivers.guests.qemu_options import (
    MIB,
    Drive,
    Option,
    drives_of,
    model_of,
    options_of,
    settings_of,
    size_of,
)
from reconciler.names import Dataset

WHERE = "its arguments"
OUR_ID = "ckptree"
"""The name under which ckptree's own QMP connection is known inside QEMU."""

PID_FILE = ".ckptree/qemu.pid"
"""QEMU's pid file, relative to the home: locked by QEMU for its life."""

_DIGEST_LENGTH = 12  # hexadecimal digits
_DEFAULT_RAM = 128 * MIB  # of the PC machines, when there is no -m

_STARTS = "leave it out: ckptree starts the guest itself, and resumes its checkpoints"
_REFUSED = {
    "daemonize": "leave it out: ckptree keeps QEMU in the background itself",
    "incoming": _STARTS,
    "loadvm": _STARTS,
    "S": _STARTS,
    "preconfig": _STARTS,
    "no-shutdown": "leave it out: a guest is off when its QEMU has ended",
    "snapshot": "leave it out: the disks would change in temporary files that no checkpoint has",
    "pidfile": f"leave it out: ckptree has QEMU write {PID_FILE}",
    "readconfig": "write what that file says as arguments: disks must be seen here",
}
_DISPLAYS = frozenset(["display", "vnc", "spice", "nographic", "curses", "sdl"])
_UNSAVED = (
    "nvme", "vfio-", "ivshmem", "ufs", "rocker", "virtio-crypto", "virtio-sound", "virtio-input-host", "virtio-9p",
)  # fmt: skip
"""How the names of devices begin that QEMU up to 10.0 cannot save (-only-migratable refuses them)."""


@dataclass(frozen=True)
class Definition:
    """A QEMU guest as its document describes it. HOME is the absolute path that its arguments are relative to."""

    home: str
    arguments: tuple[str, ...]

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """The arguments, taken apart."""
        return options_of(self.arguments)

    @cached_property
    def digest(self) -> str:
        """A digest of the arguments: as long as it is the same, so are the guest's devices."""
        words = "\0".join(self.arguments).encode("utf-8", "surrogateescape")
        return hashlib.sha256(words).hexdigest()[:_DIGEST_LENGTH]

    @property
    def ram(self) -> int:
        """The guest's RAM in bytes, by -m: the last one counts, and a number without a unit is in MiB."""
        found = _DEFAULT_RAM
        for option in self.options:
            if option.name == "m":
                values = settings_of(option.value, "size")
                found = size_of(values.get("size", "")) or found
        return found

    @property
    def accelerated(self) -> bool:
        """Whether the guest runs on the host's own processor, and so depends on which one that is."""
        for option in self.options:
            if option.name == "enable-kvm":
                return True
            if option.name in {"accel", "machine", "M"}:
                values = settings_of(option.value, "accel" if option.name == "accel" else "type")
                if any(name != "tcg" for name in values.get("accel", "tcg").split(":")):
                    return True
        return False

    @property
    def has_display(self) -> bool:
        """Whether something is said about the display; QEMU would look for a window system otherwise."""
        return any(option.name in _DISPLAYS for option in self.options)

    @cached_property
    def drives(self) -> tuple[Drive, ...]:
        """The disks that the arguments name."""
        return tuple(drive for option in self.options for drive in drives_of(option))

    def unfit(self) -> str | None:
        """Tell which argument ckptree cannot work with, and what to write instead; none if there is none."""
        for option in self.options:
            if option.name in _REFUSED:
                return f"its argument -{option.name} is in the way ({_REFUSED[option.name]})"
            values = settings_of(option.value, "")
            if option.name == "action" and values.get("shutdown") == "pause":
                return f"its argument {option} is in the way ({_REFUSED['no-shutdown']})"
            if option.name in {"chardev", "mon"} and values.get("id") == OUR_ID:
                return f"its argument {option} is in the way (write another id: ckptree needs this one)"
        return None

    def misled(self, disks: Sequence[str], dataset: Dataset) -> str | None:
        """Tell which of DISKS, or which branch, is not named through the link, as unfit does."""
        return self.named.misled(disks, dataset, WHERE)

    def unsaved(self, disks: Sequence[str]) -> str | None:
        """Tell why RAM and disks of this guest can be of no one instant, or RAM cannot be saved; none if they can."""
        for drive in self.drives:
            if drive.temporary:
                return f"the changes of {drive.path} go to a temporary file (leave snapshot=on out)"
            inside = self._inside(drive)
            kept = inside is not None and (inside.startswith(f"{LINK}/") or inside in disks)
            if drive.writable and not kept:
                name = "NAME" if drive.outside else posixpath.basename(drive.path)
                return (
                    f"{drive.path} can be written and is in no checkpoint (move it into the branch and write "
                    f"{LINK}/{name}, or let the guest only read it: readonly=on, for -blockdev read-only=on)"
                )
        for option in self.options:
            if option.name == "virtfs":
                return (
                    f"QEMU cannot save a folder that is shared with the guest (leave out {option})"
                )
            model = model_of(option)
            if option.name == "device" and model.startswith(_UNSAVED):
                return f"QEMU cannot save the device {model} (use virtio-blk or another device instead)"
        return None

    @cached_property
    def named(self) -> DiskPaths:
        """The disks that lie in some folder of this host."""
        paths = tuple(drive.path for drive in self.drives if not drive.outside)
        return DiskPaths(self.home, paths)

    def _inside(self, drive: Drive) -> str | None:
        """Give a drive's path relative to the home, none if it lies elsewhere or climbs out of a folder."""
        return None if drive.outside else self.named.inside(drive.path)
