"""``ckptree forget``: a person lets a lost checkpoint be taken anew under its name."""

import click

from reconciler.cli.session import Session, now
from reconciler.errors import ExitCode


@click.command("forget")
@click.argument("vm")
@click.argument("node")
@click.pass_obj
def command(session: Session, vm: str, node: str) -> ExitCode:
    """Forget that checkpoint NODE, which is gone, was ever taken: the name may then be taken anew."""
    from reconciler.execute.people import forget

    (desired,) = session.select([vm])
    hands = session.hands(desired)
    forget(desired, hands, session.identity, now, session.by, node)
    click.echo(f"{vm}: {node} may be taken anew; 'ckptree plan {vm}' shows when")
    return ExitCode.NOTHING_TO_DO
