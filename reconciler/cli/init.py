"""``ckptree init``: make a VM's home and first branch, or turn an existing dataset into one."""

import click

from reconciler.cli.session import Session, now
from reconciler.errors import ExitCode
from reconciler.model.desired import VmBhyve


@click.command("init")
@click.argument("vm")
@click.pass_obj
def command(session: Session, vm: str) -> ExitCode:
    """Make what VM's document describes and does not exist yet.

    A dataset that has the VM's disks in it becomes its home and first branch by renaming; the guest must be off.
    The definition of a guest of vm-bhyve is changed to name its disks by the link; each change is told.
    Run it again after you have made the disks that it asks for; what is there already is left as it is.
    """
    from reconciler.drivers.files import RealFiles
    from reconciler.drivers.journal import FileJournal
    from reconciler.execute.initialise import Initialiser

    (desired,) = session.select([vm])

    def say(text: str) -> None:
        click.echo(f"{vm}: {text}")

    definition = None
    if isinstance(desired.hypervisor, VmBhyve):
        from reconciler.drivers.guests.vm_bhyve_state import look
        from reconciler.execute.vm_bhyve_init import VmBhyveInit

        definition = VmBhyveInit(desired, desired.hypervisor.guest, look, say)
    Initialiser(
        desired,
        session.choice.zfs,
        RealFiles(),
        lambda path: FileJournal(path, say),
        session.identity,
        session.by,
        say,
        definition,
    ).run(now)
    click.echo(f"{vm}: the home {desired.dataset} is ready; see 'ckptree plan {vm}'")
    return ExitCode.NOTHING_TO_DO
