"""Chooses the write path once, when a command starts, and says why."""

from dataclasses import dataclass
from typing import Literal

from reconciler.contracts.zfs import Zfs
from reconciler.drivers.zfs.by_command import CommandZfs
from reconciler.drivers.zfs.by_core import CoreZfs
from reconciler.drivers.zfs.library import available
from reconciler.errors import CkptreeError

Preference = Literal["auto", "pyzfs", "command"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The ZFS to use, and why it is this one in words for ``ckptree doctor``."""

    zfs: Zfs
    reason: str


def choose(preference: Preference) -> Choice:
    """Choose pyzfs where it works, else the command.

    Raises CkptreeError if PREFERENCE cannot be met.
    """
    if preference == "command":
        return Choice(CommandZfs(), "the zfs command, as asked for")
    obstacle = available()
    if obstacle is None:
        asked = ", as asked for" if preference == "pyzfs" else ""
        return Choice(CoreZfs(), f"pyzfs{asked}")
    if preference == "pyzfs":
        raise CkptreeError(f"pyzfs was asked for and cannot be used: {obstacle}")
    return Choice(CommandZfs(), f"the zfs command: {obstacle}")


def open_zfs(preference: Preference = "auto") -> Zfs:
    """Open the host's ZFS as ``choose`` says."""
    return choose(preference).zfs
