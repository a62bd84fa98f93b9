"""``ckptree take-over``: a person makes a home of another host this host's."""

import click

from reconciler.cli.session import Session, now
from reconciler.errors import ExitCode


@click.command("take-over")
@click.argument("vm")
@click.pass_obj
def command(session: Session, vm: str) -> ExitCode:
    """Make this host the owner of VM's home, whose pool was imported here.

    Only if the host that owned it is gone for good, or no longer has the pool.
    """
    from reconciler.execute.people import take_over

    (desired,) = session.select([vm])
    hands = session.hands(desired)
    before = take_over(desired, hands, session.identity, now, session.by)
    click.echo(f"{vm}: {desired.dataset} belongs to this host now; it belonged to {before}")
    return ExitCode.NOTHING_TO_DO
