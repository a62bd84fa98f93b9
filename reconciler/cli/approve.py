"""``ckptree approve``: a person allows a removal, or the removals of a whole revision, that wait for that."""

import click

from reconciler.cli.session import Session, now
from reconciler.errors import ExitCode


@click.command("approve")
@click.argument("vm", required=False)
@click.argument("digest", required=False)
@click.option(
    "--revision",
    metavar="COMMIT",
    help="Allow what the revision in force removes, though it does not follow from the last one, or is not signed.",
)
@click.pass_obj
def command(session: Session, vm: str | None, digest: str | None, revision: str | None) -> ExitCode:
    """Allow the removal that `ckptree plan VM` shows with DIGEST; the next apply carries it out."""
    from reconciler.execute.people import approve

    if revision is not None and vm is None:
        approved_revision = session.repository.approve(revision)
        click.echo(
            f"approved what revision {approved_revision[:12]} removes; the next apply acts on it"
        )
        return ExitCode.NOTHING_TO_DO
    if vm is None or digest is None or revision is not None:
        raise click.UsageError("write either VM and DIGEST, or --revision COMMIT")
    (desired,) = session.select([vm])
    hands = session.hands(desired)
    approved = approve(desired, hands, session.identity, now, session.by, digest)
    click.echo(
        f"{vm}: approved the removal of {', '.join(approved)}; 'ckptree apply {vm}' retires them"
    )
    return ExitCode.NOTHING_TO_DO
