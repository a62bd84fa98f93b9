"""What ``ckptree status --revision`` shows: what became of the revisions of the repository on this host."""

import json

import click

from reconciler.cli.session import Session
from reconciler.errors import CkptreeError, ExitCode
from reconciler.model.properties import encode_time
from reconciler.source.ledger import Entry, State

_DIGITS = 12
_CODES = {
    State.APPLIED: ExitCode.NOTHING_TO_DO,
    State.SUPERSEDED: ExitCode.NOTHING_TO_DO,
    State.WAITING: ExitCode.BLOCKED,
    State.FAILED: ExitCode.ERROR,
    State.REFUSED: ExitCode.ERROR,
}


def show_revisions(session: Session, prefix: str, *, as_json: bool) -> ExitCode:
    """Show the revisions that begin with PREFIX, the newest first; the exit code tells of the newest one."""
    repository = session.repository
    entries = repository.ledger.latest(prefix.lower())
    if prefix and not entries:
        raise CkptreeError(
            f"nothing is known of revision {prefix} on this host (leave it out to see those that are known)"
        )
    if as_json:
        body = {
            "version": 1,
            "source": repository.place,
            "in_force": repository.revision,
            "problem": repository.problem,
            "restraint": repository.restraint.removals if repository.revision else "",
            "revisions": [entry.to_json() for entry in entries],
        }
        click.echo(json.dumps(body, indent=2))
    else:
        _print_text(session, entries)
    return _CODES[entries[0].state] if entries else ExitCode.NOTHING_TO_DO


def _print_text(session: Session, entries: tuple[Entry, ...]) -> None:
    repository = session.repository
    in_force = repository.revision
    click.echo(
        f"{repository.place}: {'nothing is' if in_force is None else f'revision {in_force[:_DIGITS]} is'} in force"
    )
    if repository.problem:
        click.echo(repository.problem)
    if in_force is not None and repository.restraint.removals:
        click.echo(f"nothing is removed or restored: {repository.restraint.removals}")
    for entry in entries:
        mark = "*" if entry.revision == in_force else " "
        words = f"{entry.revision[:_DIGITS]}  {entry.state.value:<10}  {encode_time(entry.at)}"
        click.echo(f"{mark} {words}  {entry.message}".rstrip())
