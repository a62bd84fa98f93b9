"""``ckptree fetch``: look for a newer revision of the repository now, and put it in force."""

import click

from reconciler.cli.session import Session
from reconciler.errors import CkptreeError, ExitCode

_TO_TELL = 30.0  # seconds for the program that is told of revisions


@click.command("fetch")
@click.pass_obj
def command(session: Session) -> ExitCode:
    """Fetch and verify the documents of the repository that ckptree.yaml names; nothing is applied.

    Exit code 1 if the newest revision is not in force afterwards. A daemon that runs acts on it by itself.
    """
    repository = session.repository
    refreshed = repository.refresh()
    repository.ledger.close(_TO_TELL)
    if repository.problem or repository.revision is None:
        raise CkptreeError(f"{repository.place}: {repository.problem or refreshed.message}")
    click.echo(f"{repository.place}: {refreshed.message}")
    restraint = repository.restraint.removals
    if restraint:
        click.echo(f"nothing is removed or restored for it: {restraint}")
    return ExitCode.NOTHING_TO_DO
