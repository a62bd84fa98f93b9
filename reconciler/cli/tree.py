"""``ckptree tree``: what exists, what is desired, and where the guest is."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from reconciler import __version__, paths
from reconciler.cli.session import Session, now
from reconciler.daemon.host import Observed
from reconciler.errors import CkptreeError, ExitCode


@click.command("tree")
@click.argument("vms", nargs=-1, metavar="[VM...]")
@click.option("--json", "as_json", is_flag=True, help="Print the trees as JSON.")
@click.option(
    "--html",
    "page",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write the page that the daemon serves, as one file; - or nothing is the standard output.",
)
@click.pass_obj
def command(session: Session, vms: tuple[str, ...], as_json: bool, page: str | None) -> ExitCode:
    """Show the checkpoint trees of the VMs, or of all."""
    from reconciler.daemon.client import presence, presence_text
    from reconciler.plan.exported import observation_json
    from reconciler.plan.planner import make_plan
    from reconciler.render.tree_text import render_tree
    from reconciler.render.tree_view import tree_view

    if as_json and page is not None:
        raise click.UsageError("--json and --html exclude each other (leave one out)")
    moment, windows = now(), session.settings.windows
    observed = session.observe(session.select(vms))
    code = ExitCode.ERROR if session.faulty and not vms else ExitCode.NOTHING_TO_DO
    if page is not None:
        _write_page(page, _page(session, observed, moment, whole=not vms))
        return code
    daemon = presence(paths.SOCKET)
    views = [
        tree_view(
            one.desired,
            one.observation,
            make_plan(
                one.desired, one.observation, moment, restraint=session.restraint, windows=windows
            ),
            moment,
        )
        for one in observed
    ]
    if as_json:
        body = {
            "version": 1,
            "daemon": None if daemon is None else daemon.to_json(),
            "trees": [
                {
                    **view.to_json(),
                    "observation": observation_json(one.observation, moment, windows),
                }
                for view, one in zip(views, observed, strict=True)
            ],
        }
        click.echo(json.dumps(body, indent=2))
    else:
        click.echo("\n".join(render_tree(view, session.style) for view in views), nl=False)
        click.echo(presence_text(daemon, moment))
    return code


def _page(session: Session, observed: Sequence[Observed], moment: datetime, *, whole: bool) -> str:
    """Make the page of OBSERVED, and of what else there is on the host where that is the WHOLE of it."""
    from reconciler.plan.planner import make_plan
    from reconciler.render.host_view import HostReport, VmReport
    from reconciler.render.page import saved_page
    from reconciler.render.status_view import status_view
    from reconciler.render.tree_view import tree_view

    reports = []
    windows = session.settings.windows
    for one in observed:
        plan = make_plan(
            one.desired, one.observation, moment, restraint=session.restraint, windows=windows
        )
        status = status_view(one.desired, one.observation, plan)
        tree = tree_view(one.desired, one.observation, plan, moment)
        reports.append(VmReport(status=status, tree=tree))
    return saved_page(
        HostReport(
            host=session.identity.name,
            version=__version__,
            at=moment,
            vms=tuple(reports),
            released=session.released() if whole else {},
            faults=tuple(str(finding) for finding in session.loaded.findings),
        )
    )


def _write_page(file: str, text: str) -> None:
    if file == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CkptreeError(
            f"{file} cannot be written: {error.strerror} (name a file in a folder that you may write to)"
        ) from error
