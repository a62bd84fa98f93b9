"""``ckptree approve``: a person allows a removal that waits."""

import click

from reconciler.cli.session import Session, now
from reconciler.errors import ExitCode


@click.command("approve")
@click.argument("vm")
@click.argument("digest")
@click.pass_obj
def command(session: Session, vm: str, digest: str) -> ExitCode:
    """Allow the removal that `ckptree plan VM` shows with DIGEST; the next apply carries it out."""
    from reconciler.execute.people import approve

    (desired,) = session.select([vm])
    hands = session.hands(desired)
    approved = approve(desired, hands, session.identity, now, session.by, digest)
    click.echo(
        f"{vm}: approved the removal of {', '.join(approved)}; 'ckptree apply {vm}' retires them"
    )
    return ExitCode.NOTHING_TO_DO
