"""Guests of vm-bhyve: vm-bhyve starts and stops them, ckptree through it.

What the host's bhyve can do is found out as for ``bhyve``. A guest is asked to stop from here; it is started, and held
frozen, by a keeper that lives for that errand alone (``keeper.vm_bhyve``), because then RAM is at stake and ckptree may
be killed at any moment.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from reconciler.drivers.command import find
from reconciler.drivers.guests.bhyve import BhyveGuest
from reconciler.drivers.guests.bhyve_definition import LONGEST_PATH, Definition
from reconciler.drivers.guests.client import STOP_SECONDS, KeptHold, Order
from reconciler.drivers.guests.vm_bhyve_conf import Conf, read_conf
from reconciler.drivers.guests.vm_bhyve_definition import definition_of
from reconciler.drivers.guests.vm_bhyve_loop import Loop, why_not_resuming
from reconciler.drivers.guests.vm_bhyve_state import look
from reconciler.errors import CkptreeError, StepFailed
from reconciler.model.desired import Bhyve, DesiredVm, VmBhyve
from reconciler.model.observed import Ability, GuestState, Running

_KILL_SECONDS = 60.0


class VmBhyveGuest(BhyveGuest):
    """The guest VM_BHYVE of the document DESIRED, whose home is mounted at HOME, which is its directory as well."""

    def __init__(self, desired: DesiredVm, vm_bhyve: VmBhyve, home: str) -> None:
        super().__init__(desired, Bhyve(mode=vm_bhyve.mode), home)
        self._guest = vm_bhyve.guest
        self._name = "vm-bhyve"
        machine = {"kind": "vm-bhyve", "guest": vm_bhyve.guest, "mode": vm_bhyve.mode}
        self._order = Order(vm=desired.vm, home=home, machine=machine, guard=True)

    def probe(self) -> Ability:
        """Find out what can be done as the contract says."""
        try:
            find("vm")
        except FileNotFoundError:
            return Ability(why_not="this host has no vm-bhyve")
        if isinstance(self._conf, str):
            return Ability(why_not=self._conf)
        why_not = self._why_no_memory(self.state()) or self._why_not_resumed()
        return Ability(
            managed=True,
            memory=not why_not,
            why_not=why_not,
            fingerprint=f"{self._host};devices={self._definition.digest}",
            ram=self._definition.memory,
            longest_path=LONGEST_PATH,
        )

    def unkept(self) -> GuestState:
        """What its processes and files tell."""
        return look(self._guest, self._home)

    @contextmanager
    def frozen(self, memory: str) -> Iterator[KeptHold]:
        """Freeze the guest as the contract says."""
        self._order = replace(self._order, guard=True)
        with super().frozen(memory) as hold:
            yield hold

    def start(self, memory: str | None = None) -> None:
        """Start the guest as the contract says."""
        self._order = replace(self._order, guard=False)
        super().start(memory)

    def stop(self, *, now: bool) -> None:
        """Stop the guest as the contract says."""
        keeper = self.kept()
        if keeper is not None:
            raise StepFailed(f"the keeper of {self._guest} is at work: {keeper.proof}")
        state = self.unkept()
        if state.running is Running.OFF:
            return
        if state.running is Running.UNKNOWN:
            raise StepFailed(f"{self._guest} cannot be stopped by ckptree: {state.proof}")
        loop = Loop(self._guest, self._home, lambda _: None)
        if now:
            loop.power_off(time.monotonic() + _KILL_SECONDS)
        else:
            loop.shut_down(time.monotonic() + STOP_SECONDS)

    def tidy(self) -> None:
        """Remove the fence and the links of an interrupted start or save as the contract says."""
        super().tidy()
        if self._lock_holder() is None:
            Loop(self._guest, self._home, lambda _: None).tidy()

    @cached_property
    def _conf(self) -> Conf | str:
        """The guest's conf, or why there is none."""
        path = Path(self._home, f"{self._guest}.conf")
        try:
            conf = read_conf(path)
        except CkptreeError as error:
            return str(error)
        return f"there is no {path}, by which vm-bhyve finds the guest" if conf is None else conf

    @cached_property
    def _definition(self) -> Definition:
        conf = Conf("") if isinstance(self._conf, str) else self._conf
        return definition_of(conf, self._guest, self._home)

    def _why_not_resumed(self) -> str:
        """Why vm-bhyve would not resume saved RAM, as the end of a sentence; empty if it would."""
        if len(f"{self._home}/{self._guest}.save".encode()) > LONGEST_PATH:
            return f"{self._home}/{self._guest}.save is longer than bhyve can take ({LONGEST_PATH} bytes)"
        return why_not_resuming() or self._why_outdated()

    def _why_outdated(self) -> str:
        """Why the running guest is not what its conf says; empty if it is: vm-bhyve reads the conf, then locks."""
        try:
            started = Path(self._home, "run.lock").stat().st_mtime_ns
            changed = Path(self._home, f"{self._guest}.conf").stat().st_mtime_ns
        except OSError:
            return ""  # it is off
        if changed <= started or self.state().running is Running.OFF:
            return ""
        return (
            f"{self._guest}.conf was changed after the guest was started, which may have other devices (restart it:"
            f" 'vm stop {self._guest}', then 'vm start {self._guest}')"
        )
