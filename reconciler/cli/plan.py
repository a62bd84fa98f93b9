"""``ckptree plan``: show what apply would do, and save it."""

from pathlib import Path

import click

from reconciler.cli.session import Session, exit_code_of, now
from reconciler.errors import CkptreeError, ExitCode


@click.command("plan")
@click.argument("vms", nargs=-1, metavar="[VM...]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Save the plan."
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.pass_obj
def command(session: Session, vms: tuple[str, ...], output: Path | None, as_json: bool) -> ExitCode:
    """Show what `ckptree apply` would do for the VMs, or for all.

    Exit codes: 0 nothing to do, 2 changes, 3 blocked or waiting for approval, 1 error.
    """
    from reconciler.cli.groups import with_groups
    from reconciler.execute.rehearsal import rehearse
    from reconciler.plan.document import plan_document
    from reconciler.plan.planner import make_plan
    from reconciler.render.plan_text import render_plans

    observed = session.observe(session.select(vms))
    moment = now()
    plans = tuple(make_plan(one.desired, one.observation, moment) for one in observed)
    for one, plan in zip(observed, plans, strict=True):
        rehearse(plan, one.desired, one.observation)
    if output is not None:
        try:
            output.write_text(plan_document(plans), encoding="utf-8")
        except OSError as error:
            raise CkptreeError(f"{output} cannot be written: {error.strerror}") from error
    # A saved plan is of one VM each; what is taken together is taken by 'apply' without one.
    plans = with_groups(plans, observed, session)
    if as_json:
        click.echo(plan_document(plans), nl=False)
    else:
        click.echo(render_plans(plans, session.style), nl=False)
    return exit_code_of(plans, faulty=session.faulty and not vms)
