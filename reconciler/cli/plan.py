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
@click.option(
    "--diff",
    "revisions",
    metavar="REV1..REV2",
    help="Show what merging REV2 into REV1 would change beyond REV1, without a host and without ZFS.",
)
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="With --diff: the git repository (default: the one that this is in).",
)
@click.option(
    "--path", "folder", metavar="FOLDER", help="With --diff: where in it the documents are."
)
@click.option(
    "--observation",
    "observations",
    multiple=True,
    metavar="FILE",
    help="With --diff: what `ckptree tree --json` wrote on a host (- is the standard input); may be given again.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "json"]),
    help="With --diff: how to write it (default markdown).",
)
@click.pass_obj
def command(
    session: Session,
    vms: tuple[str, ...],
    output: Path | None,
    as_json: bool,
    revisions: str | None,
    repository: Path | None,
    folder: str | None,
    observations: tuple[str, ...],
    form: str | None,
) -> ExitCode:
    """Show what `ckptree apply` would do for the VMs, or for all; with --diff, what a merge would change.

    Exit codes: 0 nothing to do, 2 changes, 3 blocked or waiting for approval, 1 error.
    """
    if revisions is not None:
        from reconciler.cli.merge import Asked, show_merge

        if output is not None:
            raise click.UsageError("--output and --diff exclude each other (leave one out)")
        if not observations:
            raise click.UsageError(
                "--diff needs to know what exists (write --observation FILE with the output of 'ckptree tree --json')"
            )
        if as_json and form == "markdown":
            raise click.UsageError(
                "--json and --format markdown exclude each other (leave one out)"
            )
        return show_merge(
            Asked(
                revisions=revisions,
                repository=repository or Path(),
                folder=folder or "",
                observations=observations,
                form="json" if as_json else form or "markdown",
                vms=vms,
            )
        )
    if repository is not None or folder is not None or observations or form is not None:
        raise click.UsageError(
            "--repository, --path, --observation and --format belong to --diff (write --diff REV1..REV2)"
        )
    from reconciler.cli.groups import with_groups
    from reconciler.execute.rehearsal import rehearse
    from reconciler.plan.document import plan_document
    from reconciler.plan.planner import make_plan
    from reconciler.render.plan_text import render_plans

    observed = session.observe(session.select(vms))
    moment, windows = now(), session.settings.windows
    plans = tuple(
        make_plan(
            one.desired, one.observation, moment, restraint=session.restraint, windows=windows
        )
        for one in observed
    )
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
