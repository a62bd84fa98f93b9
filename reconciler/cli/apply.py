"""``ckptree apply``: make what exists equal to the documents, or carry out a saved plan."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler import paths
from reconciler.cli.session import Session, exit_code_of, now
from reconciler.errors import CkptreeError, ExitCode
from reconciler.model.actions import Action
from reconciler.model.desired import DesiredVm
from reconciler.model.plan import Plan
from reconciler.names import VmName
from reconciler.plan.document import SavedPlan, read_plan_document

if TYPE_CHECKING:
    from reconciler.execute.apply import Result, Wish

_TO_TELL = 30.0  # seconds for the program that is told of revisions


@click.command("apply")
@click.argument("what", nargs=-1, metavar="[VM... | PLANFILE]")
@click.option(
    "--confirm",
    is_flag=True,
    help="You have looked at the tree: let one without a journal be restored and retired.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what is left to do as JSON.")
@click.pass_obj
def command(session: Session, what: tuple[str, ...], confirm: bool, as_json: bool) -> ExitCode:
    """Make the VMs, or all, equal to their documents; or carry out PLANFILE, made by `ckptree plan -o`.

    Exit codes tell what is left to do afterwards: 0 nothing, 2 changes, 3 blocked or waiting for a person; 1 error.
    """
    from reconciler.cli.groups import take_groups
    from reconciler.plan.document import plan_document
    from reconciler.render.plan_text import render_plans

    saved = _saved_plans(session, what)
    names = tuple(saved) if saved is not None else what
    vms = session.select(names)
    left, failed = _apply_each(session, vms, saved, confirm=confirm, quiet=as_json)
    if saved is None:
        taken, broken = take_groups(session, vms, quiet=as_json)
        # What hangs on a checkpoint of a group can go on only now.
        more, late = _apply_each(session, [vm for vm in vms if vm.vm in taken], None, quiet=as_json)
        left.update(more)
        failed = failed or broken or late
    plans = tuple(left.values())
    if not what:
        _note_revision(session, vms, left)
    if as_json:
        click.echo(plan_document(plans), nl=False)
    elif remaining := tuple(plan for plan in plans if plan.actions or plan.conditions):
        click.echo(render_plans(remaining, session.style), nl=False)
    return exit_code_of(plans, faulty=failed or (session.faulty and not names))


def _apply_each(
    session: Session,
    vms: Sequence[DesiredVm],
    saved: dict[VmName, SavedPlan] | None,
    *,
    confirm: bool = False,
    quiet: bool,
) -> tuple[dict[VmName, Plan], bool]:
    """Apply VMS one by one; gives what is left to do for each, and whether any failed."""
    left = {}
    failed = False
    for vm in vms:
        try:
            given = None if saved is None else saved[vm.vm]
            left[vm.vm] = apply_one(session, vm, confirm=confirm, saved=given, quiet=quiet)
        except CkptreeError as error:
            click.echo(f"ckptree: {vm.vm}: {error}", err=True)
            failed = True
    return left, failed


def apply_one(
    session: Session,
    desired: DesiredVm,
    *,
    confirm: bool = False,
    purge: bool = False,
    saved: SavedPlan | None = None,
    quiet: bool = False,
) -> Plan:
    """Apply one VM with progress on stdout; gives what is left to do."""
    from reconciler.execute.apply import Wish

    wish = Wish(by=session.by, confirm=confirm, purge=purge, saved=saved)
    return apply_wish(session, desired, wish, quiet=quiet).left


def apply_wish(
    session: Session, desired: DesiredVm, wish: "Wish", *, quiet: bool = False
) -> "Result":
    """Apply one VM as WISH says, in the host's windows, with progress on stdout."""
    from reconciler.execute.apply import apply
    from reconciler.render.progress import done_line, progress_line

    style = session.style

    def progress(action: Action) -> None:
        if not quiet:
            click.echo(progress_line(desired.vm, desired.dataset, action, style))
            sys.stdout.flush()

    wish = replace(wish, restraint=session.restraint, windows=session.settings.windows)
    result = apply(desired, session.hands(desired), session.identity, now, wish, progress)
    if not quiet:
        click.echo(done_line(result.done))
    return result


def _note_revision(session: Session, vms: Sequence[DesiredVm], left: dict[VmName, Plan]) -> None:
    """Note what became of the revision on this host, where the documents are of one; a daemon does so by itself."""
    from reconciler.daemon.client import presence
    from reconciler.render.revision_view import outcome

    revision = next((vm.revision for vm in vms), None)
    if revision is None or presence(paths.SOCKET) is not None:
        return
    failures = {str(vm.vm): "it could not be applied" for vm in vms if vm.vm not in left}
    faults = [str(finding) for finding in session.loaded.findings]
    ledger = session.repository.ledger
    try:
        ledger.note(revision, *outcome(tuple(left.values()), failures, faults))
    except CkptreeError as error:
        click.echo(f"ckptree: {error}", err=True)
    ledger.close(_TO_TELL)


def _saved_plans(session: Session, what: Sequence[str]) -> dict[VmName, SavedPlan] | None:
    """The plans of a saved file, if WHAT names one and not VMs."""
    if len(what) != 1 or any(vm.vm == what[0] for vm in session.loaded.vms):
        return None
    path = Path(what[0])
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CkptreeError(f"{path} cannot be read as a saved plan: {error}") from error
    return {plan.vm: plan for plan in read_plan_document(text, str(path))}
