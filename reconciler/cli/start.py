"""``ckptree start``: start a guest that ckptree runs."""

import click

from reconciler.cli.session import Session, now
from reconciler.errors import ExitCode


@click.command("start")
@click.argument("vm")
@click.option("--cold", is_flag=True, help="Boot from the disks, even if memory could be resumed.")
@click.pass_obj
def command(session: Session, vm: str, cold: bool) -> ExitCode:
    """Start the guest of VM on its current branch.

    Where the memory of a checkpoint lies with exactly these disks, as after a restore of a guest that was off, the
    guest goes on from it; else it boots.
    """
    from reconciler.execute.power import start_guest

    (desired,) = session.select([vm])
    hands = session.hands(desired)
    resumed = start_guest(desired, hands, session.identity, now, session.by, cold=cold)
    how = "from its memory" if resumed else "from its disks"
    click.echo(f"{vm}: started {how}: {hands.guest.state().proof}")
    return ExitCode.NOTHING_TO_DO
