"""``ckptree status``: how far each VM is, and what keeps it."""

import json

import click

from reconciler import paths
from reconciler.cli.session import Session, exit_code_of, now
from reconciler.errors import ExitCode


@click.command("status")
@click.argument("vms", nargs=-1, metavar="[VM...]")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
@click.option(
    "--revision",
    is_flag=False,
    flag_value="",
    metavar="[COMMIT]",
    help="Show what became of the revisions of the repository, or of one, instead.",
)
@click.pass_obj
def command(
    session: Session, vms: tuple[str, ...], as_json: bool, revision: str | None
) -> ExitCode:
    """Show the status of the VMs, or of all; homes that no document describes are shown as Released.

    Exit codes: 0 all is as desired, 2 changes are to be made, 3 blocked or waiting for a person, 1 error.
    """
    from reconciler.cli.revisions import show_revisions
    from reconciler.daemon.client import presence, presence_text
    from reconciler.plan.planner import make_plan
    from reconciler.render.daemon_text import doing_text
    from reconciler.render.status import render_status
    from reconciler.render.status_view import status_view

    if revision is not None:
        if vms:
            raise click.UsageError("--revision is of the whole host (leave the VMs out)")
        return show_revisions(session, revision, as_json=as_json)
    moment, windows = now(), session.settings.windows
    observed = session.observe(session.select(vms))
    restraint = session.restraint
    plans = [
        make_plan(one.desired, one.observation, moment, restraint=restraint, windows=windows)
        for one in observed
    ]
    views = [
        status_view(one.desired, one.observation, plan)
        for one, plan in zip(observed, plans, strict=True)
    ]
    released = {} if vms else session.released()
    daemon = presence(paths.SOCKET)
    doing = {} if daemon is None else daemon.doing
    if as_json:
        body = {
            "version": 1,
            "daemon": None if daemon is None else daemon.to_json(),
            "vms": [
                {
                    **view.to_json(),
                    "doing": doing[view.vm].to_json() if view.vm in doing else None,
                }
                for view in views
            ],
            "released": [{"vm": name, "dataset": str(home)} for home, name in released.items()],
        }
        click.echo(json.dumps(body, indent=2))
    else:
        at_work = {vm: doing_text(one, moment) for vm, one in doing.items()}
        click.echo(render_status(views, released, session.style, at_work), nl=False)
        click.echo(presence_text(daemon, moment))
    return exit_code_of(plans, faulty=session.faulty and not vms)
