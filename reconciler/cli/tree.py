"""``ckptree tree``: what exists, what is desired, and where the guest is."""

import json

import click

from reconciler.cli.session import Session, now
from reconciler.errors import ExitCode


@click.command("tree")
@click.argument("vms", nargs=-1, metavar="[VM...]")
@click.option("--json", "as_json", is_flag=True, help="Print the trees as JSON.")
@click.pass_obj
def command(session: Session, vms: tuple[str, ...], as_json: bool) -> ExitCode:
    """Show the checkpoint trees of the VMs, or of all."""
    from reconciler.plan.planner import make_plan
    from reconciler.render.tree_text import render_tree
    from reconciler.render.tree_view import tree_view

    moment = now()
    views = [
        tree_view(
            one.desired, one.observation, make_plan(one.desired, one.observation, moment), moment
        )
        for one in session.observe(session.select(vms))
    ]
    if as_json:
        body = {"version": 1, "trees": [view.to_json() for view in views]}
        click.echo(json.dumps(body, indent=2))
    else:
        click.echo("\n".join(render_tree(view, session.style) for view in views), nl=False)
    return ExitCode.ERROR if session.faulty and not vms else ExitCode.NOTHING_TO_DO
