"""A guest of QEMU, seen from ckptree: what can be done with it here, and whether it runs.

Starting, freezing and ending it is its keeper's work (``client.Kept``, ``keeper.qemu``); ``qemu_definition`` knows
what the arguments mean. Here is what needs a look at the host: programs, libraries, links, processes.
"""

import fcntl
import platform
from importlib.util import find_spec
from pathlib import Path

from reconciler.drivers.command import find
from reconciler.drivers.guests.client import Kept, Order
from reconciler.drivers.guests.disk_paths import names_of
from reconciler.drivers.guests.program_file import digest_of
from reconciler.drivers.guests.qemu_definition import PID_FILE, WHERE, Definition
from reconciler.drivers.guests.qemu_program import topology_of, version_of
from reconciler.errors import CkptreeError
from reconciler.model.desired import DesiredVm, Qemu
from reconciler.model.observed import Ability, GuestState, Running


class QemuGuest(Kept):
    """The guest QEMU of the document DESIRED, whose home is mounted at HOME."""

    def __init__(self, desired: DesiredVm, qemu: Qemu, home: str) -> None:
        machine = {"kind": "qemu", "binary": qemu.binary, "args": list(qemu.args)}
        super().__init__("qemu", Order(vm=desired.vm, home=home, machine=machine))
        self._home = home
        self._dataset = desired.dataset
        self._disks = names_of(desired.disks)
        self._binary = qemu.binary
        self._definition = Definition(home, qemu.args)

    def probe(self) -> Ability:
        """Find out what can be done as the contract says."""
        ram = self._definition.ram
        try:
            program = find(self._binary)
            reason = self._unmanaged()
            if reason is not None:
                return Ability(why_not=reason, ram=ram)
            reason = self._definition.unsaved(self._disks) or self._outdated(program)
            if reason is not None:
                return Ability(managed=True, why_not=reason, ram=ram)
            fingerprint = self._fingerprint(program)
        except (CkptreeError, OSError) as error:
            return Ability(why_not=str(error), ram=ram)
        return Ability(managed=True, memory=True, why_not="", fingerprint=fingerprint, ram=ram)

    def unkept(self) -> GuestState:
        """What is known of a guest without a keeper: it is off, unless a keeper was killed and left its QEMU."""
        pid_file = Path(self._home, PID_FILE)
        try:
            with pid_file.open("rb") as file:
                fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            proof = f"QEMU (pid {_text(pid_file)}) runs without its keeper (shut the guest down, or end that process)"
            return GuestState(Running.UNKNOWN, proof)
        except FileNotFoundError:
            pass
        except OSError as error:
            return GuestState(Running.UNKNOWN, f"{pid_file}: {error.strerror}")
        return super().unkept()

    def _unmanaged(self) -> str | None:
        """Tell why ckptree cannot start this guest, none if it can."""
        reason = self._definition.unfit() or self._definition.misled(self._disks, self._dataset)
        reason = reason or self._definition.named.unlinked(self._disks, WHERE)
        if reason is not None:
            return reason
        if not _has_library():
            return "the library qemu.qmp is missing (install ckptree[qemu])"
        return None

    def _outdated(self, program: str) -> str | None:
        """Tell in what the guest that runs is not what would be started now; none if it is off or the same."""
        topology = self.running_topology()
        if topology in {"", topology_of(self._definition, digest_of(program))}:
            return None
        return (
            "the guest was started with other arguments, or in another QEMU, than it would be now"
            " (shut it down and start it again)"
        )

    def _fingerprint(self, program: str) -> str:
        facts = {
            "machine": platform.machine(),
            "qemu": version_of(program),
            "program": digest_of(program),
            "arguments": self._definition.digest,
        }
        if self._definition.accelerated:  # an emulated processor is the same everywhere
            facts["processor"] = _processor()
        return ";".join(f"{name}={value.replace(';', ',')}" for name, value in facts.items())


def _processor() -> str:
    """Tell the model of the host's processor as Linux names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "CPU part"}:
            return " ".join(value.split())
    return platform.processor() or "unknown"


def _has_library() -> bool:
    try:
        return find_spec("qemu.qmp") is not None
    except ImportError:  # there is no package qemu at all
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "unknown"
