"""``ckptree stop``: shut a guest down that ckptree runs."""

import click

from reconciler.cli.session import Session, now
from reconciler.errors import ExitCode


@click.command("stop")
@click.argument("vm")
@click.option("--now", "at_once", is_flag=True, help="Switch it off at once, without asking it.")
@click.pass_obj
def command(session: Session, vm: str, at_once: bool) -> ExitCode:
    """Ask the guest of VM to shut down and wait until it is off."""
    from reconciler.execute.power import stop_guest

    (desired,) = session.select([vm])
    hands = session.hands(desired)
    ran = stop_guest(desired, hands, session.identity, now, session.by, at_once=at_once)
    click.echo(f"{vm}: {'stopped' if ran else 'off already'}")
    return ExitCode.NOTHING_TO_DO
