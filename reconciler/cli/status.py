"""``ckptree status``: how far each VM is, and what keeps it."""

import json

import click

from reconciler.cli.session import Session, exit_code_of, now
from reconciler.errors import ExitCode


@click.command("status")
@click.argument("vms", nargs=-1, metavar="[VM...]")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
@click.pass_obj
def command(session: Session, vms: tuple[str, ...], as_json: bool) -> ExitCode:
    """Show the status of the VMs, or of all; homes that no document describes are shown as Released.

    Exit codes: 0 all is as desired, 2 changes are to be made, 3 blocked or waiting for a person, 1 error.
    """
    from reconciler.plan.planner import make_plan
    from reconciler.render.status import render_status
    from reconciler.render.status_view import status_view

    moment = now()
    observed = session.observe(session.select(vms))
    plans = [make_plan(one.desired, one.observation, moment) for one in observed]
    views = [
        status_view(one.desired, one.observation, plan)
        for one, plan in zip(observed, plans, strict=True)
    ]
    released = {} if vms else session.released()
    if as_json:
        body = {
            "version": 1,
            "vms": [view.to_json() for view in views],
            "released": [{"vm": name, "dataset": str(home)} for home, name in released.items()],
        }
        click.echo(json.dumps(body, indent=2))
    else:
        click.echo(render_status(views, released, session.style), nl=False)
    return exit_code_of(plans, faulty=session.faulty and not vms)
