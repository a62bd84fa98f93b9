"""``ckptree purge``: destroy retired checkpoints now."""

import click

from reconciler.cli.apply import apply_one
from reconciler.cli.session import Session, exit_code_of
from reconciler.errors import ExitCode


@click.command("purge")
@click.argument("vm")
@click.pass_obj
def command(session: Session, vm: str) -> ExitCode:
    """Destroy the retired checkpoints of VM now, before their grace is over. This cannot be undone.

    Nothing else is done: what the document newly asks for waits for `ckptree apply`.
    """
    from reconciler.render.plan_text import render_plans

    (desired,) = session.select([vm])
    left = apply_one(session, desired, purge=True)
    if left.blocked:
        click.echo(render_plans((left,), session.style), nl=False)
    return exit_code_of([left], faulty=False)
