"""Find the guest behind a VM's document; only the module of its hypervisor is imported."""

from typing import assert_never

from reconciler.contracts.guest import Guest
from reconciler.model.desired import Bhyve, Command, DesiredVm, Qemu, Unmanaged, VmBhyve


def guest_of(desired: DesiredVm, home_path: str) -> Guest:
    """The guest that DESIRED describes, whose home is mounted at HOME_PATH; nothing is looked at yet."""
    match desired.hypervisor:
        case Bhyve() as bhyve:
            from reconciler.drivers.guests.bhyve import BhyveGuest

            return BhyveGuest(desired, bhyve, home_path)
        case VmBhyve() as vm_bhyve:
            from reconciler.drivers.guests.vm_bhyve import VmBhyveGuest

            return VmBhyveGuest(desired, vm_bhyve, home_path)
        case Qemu() as qemu:
            from reconciler.drivers.guests.qemu import QemuGuest

            return QemuGuest(desired, qemu, home_path)
        case Command() as command:
            from reconciler.drivers.guests.by_command import CommandGuest

            return CommandGuest(desired, command, home_path)
        case Unmanaged():
            from reconciler.drivers.guests.unmanaged import UnmanagedGuest

            return UnmanagedGuest(desired)
        case other:
            assert_never(other)
