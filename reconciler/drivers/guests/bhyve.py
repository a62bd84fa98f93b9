"""bhyve guests that ckptree starts itself: what this host can do with one, and whether it runs.

Whether bhyve can save memory is decided when world and kernel are built (BHYVE_SNAPSHOT), and by the guest's devices;
both are found out before anything is done. The work itself is the keeper's (``client``, ``keeper.bhyve``).
"""

import os
import re
from functools import cache, cached_property

from reconciler.drivers.command import find, run
from reconciler.drivers.guests.bhyve_definition import (
    LONGEST_PATH,
    Definition,
    read_definition,
    saving_way,
)
from reconciler.drivers.guests.bhyve_process import answers, find_process
from reconciler.drivers.guests.client import Kept, Order
from reconciler.drivers.guests.disk_paths import DiskPaths, names_of
from reconciler.drivers.guests.program_file import Stamp, digest_of, stamp_of
from reconciler.errors import CommandFailed
from reconciler.model.desired import Bhyve, DesiredVm
from reconciler.model.observed import Ability, GuestState, Running

__all__ = ["LONGEST_PATH", "BhyveGuest"]

_WHERE = "its settings"
_SECONDS = 20.0
_ANY_CODE = range(256)


class BhyveGuest(Kept):
    """The guest BHYVE of the document DESIRED, whose home is mounted at HOME."""

    def __init__(self, desired: DesiredVm, bhyve: Bhyve, home: str) -> None:
        self._bhyve = bhyve
        self._vm = str(desired.vm)
        self._home = home
        self._dataset = desired.dataset
        self._disks = names_of(desired.disks)
        machine = {
            "kind": "bhyve",
            "config": self._bhyve.config,
            "args": list(self._bhyve.args),
            "loader": list(self._bhyve.loader),
            "mode": self._bhyve.mode,
        }
        super().__init__("bhyve", Order(vm=self._vm, home=home, machine=machine))

    def probe(self) -> Ability:
        """Find out what can be done as the contract says."""
        if not _has_program("bhyve"):
            return Ability(why_not="this host has no bhyve")
        if misled := self._misled():
            return Ability(why_not=misled, ram=self._definition.memory)
        state = self.state()
        foreign = state.running is Running.RUNNING and self.kept() is None
        why_not = self._foreign() if foreign else self._why_no_memory(state)
        return Ability(
            managed=not foreign,
            memory=not why_not,
            why_not=why_not,
            fingerprint=f"{self._host};devices={self._definition.digest}",
            ram=self._definition.memory,
            longest_path=LONGEST_PATH,
        )

    def ram(self) -> int:
        """Tell the RAM of its definition."""
        return self._definition.memory

    def unkept(self) -> GuestState:
        """Look for a bhyve that serves the guest all the same."""
        try:
            pid = find_process(self._vm)
        except CommandFailed as error:
            return GuestState(Running.UNKNOWN, str(error))
        if pid is not None or answers(self._vm):
            which = "" if pid is None else f" (pid {pid})"
            return GuestState(Running.RUNNING, f"bhyve{which}, not started by ckptree")
        return super().unkept()

    def _misled(self) -> str | None:
        """Which disk is not named through the link; none if all are, or what the guest has cannot be read."""
        if not self._definition.devices:
            return None
        named = DiskPaths(self._home, self._definition.paths)
        return named.misled(self._disks, self._dataset, _WHERE) or named.unlinked(
            self._disks, _WHERE
        )

    def _foreign(self) -> str:
        return f"the guest was not started by ckptree (stop it, and run 'ckptree start {self._vm}')"

    def _why_no_memory(self, state: GuestState) -> str:
        """Why the guest's memory cannot be saved, as the end of a sentence; empty if it can."""
        mode = self._bhyve.mode
        if mode == "disks":
            return "its file says 'mode: disks'"
        if state.running is Running.UNKNOWN:
            return f"it cannot be told whether the guest runs: {state.proof}"
        if self._host_refuses:
            return self._host_refuses
        if unsaved := self._definition.without_save_hook:
            return f"bhyve cannot save {', '.join(unsaved)}; give the guest other devices"
        if saving_way(mode, self._definition) == "checkpoint" and self._definition.stub is None:
            return (
                "'mode: checkpoint' needs a GDB stub"
                " (give bhyve -G 127.0.0.1:PORT, or gdb.port in its configuration)"
            )
        running = self.running_topology() if state.running is Running.RUNNING else ""
        if running and running != self._definition.digest:
            return (
                "the guest's definition was changed since it was started"
                f" (stop it, and run 'ckptree start {self._vm}')"
            )
        return ""

    @cached_property
    def _definition(self) -> Definition:
        return read_definition(self._bhyve, self._vm, self._home)

    @cached_property
    def _host_refuses(self) -> str:
        """Why this host's bhyve saves no memory; empty if it does, or if the file's ``mode`` says so."""
        try:
            program = find("bhyvectl")
            usage = _usage(program, stamp_of(program))
        except (CommandFailed, OSError) as error:
            return f"bhyvectl cannot be asked: {error}"
        if "--suspend=" not in usage:
            return "bhyvectl of this host has no --suspend (build world with WITH_BHYVE_SNAPSHOT)"
        options = _sysctl("kern.conftxt")
        if options:
            known = re.search(r"^options\s+BHYVE_SNAPSHOT\b", options, re.MULTILINE)
            return "" if known else "this host's kernel was built without 'options BHYVE_SNAPSHOT'"
        if self._bhyve.mode in {"suspend", "checkpoint"}:
            return ""
        return (
            "this kernel does not tell whether it was built with 'options BHYVE_SNAPSHOT' (kern.conftxt is not there;"
            " if you know that it was, write 'mode: suspend')"
        )

    @cached_property
    def _host(self) -> str:
        """The part of the fingerprint that is the host's."""
        system = os.uname()
        program = digest_of("bhyve") if _has_program("bhyve") else ""
        parts = {
            "os": f"{system.sysname} {system.release}",
            "osreldate": _sysctl("kern.osreldate"),
            "machine": system.machine,
            "cpu": _sysctl("hw.model"),
            "bhyve": program,
        }
        return ";".join(f"{key}={value.replace(';', ',')}" for key, value in parts.items() if value)


def _has_program(name: str) -> bool:
    try:
        find(name)
    except FileNotFoundError:
        return False
    return True


@cache
def _usage(path: str, stamp: Stamp) -> str:  # noqa: ARG001 - it may be another program after an upgrade
    usage = run([path], timeout=_SECONDS, codes=_ANY_CODE)
    return usage.stdout + usage.stderr


def _sysctl(name: str) -> str:
    """The value of NAME, empty where this kernel has none."""
    try:
        program = find("sysctl")
        return _asked(program, stamp_of(program), name)
    except (CommandFailed, OSError):
        return ""


@cache
def _asked(program: str, stamp: Stamp, name: str) -> str:  # noqa: ARG001
    return run([program, "-n", name], timeout=_SECONDS).stdout.strip()
