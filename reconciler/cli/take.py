"""``ckptree take``: a person says that a checkpoint is to be taken now."""

from datetime import timedelta

import click

from reconciler.cli.session import Session
from reconciler.errors import CkptreeError, ExitCode
from reconciler.execute.apply import Wish
from reconciler.model.desired import DesiredVm
from reconciler.model.plan import Plan
from reconciler.names import NodeName

_KEEP = timedelta(days=3)  # as long as the state before a restore is kept


@click.command("take")
@click.argument("vm")
@click.argument("node", required=False)
@click.option("--automatic", is_flag=True, help="Take an automatic checkpoint, without a name.")
@click.option(
    "--keep",
    metavar="DURATION",
    help="How long the automatic checkpoint is kept, for example 12h (default: as the file's schedule says, else 3d).",
)
@click.pass_obj
def command(
    session: Session, vm: str, node: str | None, automatic: bool, keep: str | None
) -> ExitCode:
    """Take checkpoint NODE of VM now, at any hour: its document has it with 'when: manual'. Nothing else is done."""
    from reconciler.cli.apply import apply_wish

    (desired,) = session.select([vm])
    if automatic:
        wish = Wish(by=session.by, automatic=_kept(desired, node, keep))
    else:
        wish = Wish(by=session.by, take=_named(desired, node, keep))
    done = apply_wish(session, desired, wish).done
    if not done.actions:
        raise CkptreeError(_why_not(done, desired, wish.take))
    for condition in done.conditions:
        if condition.node == wish.take is not None:
            click.echo(f"{vm}: {condition.message}")
    return ExitCode.NOTHING_TO_DO


def _named(desired: DesiredVm, text: str | None, keep: str | None) -> NodeName:
    if text is None or keep is not None:
        raise click.UsageError(
            "write 'ckptree take VM NODE', or 'ckptree take VM --automatic [--keep DURATION]'"
        )
    node = NodeName(text)
    if node not in desired.by_name:
        raise CkptreeError(
            f"{desired.position.file} has no checkpoint {node}"
            f" (write '{node}: {{when: manual}}' below the checkpoint that the guest is on, then take it)"
        )
    return node


def _kept(desired: DesiredVm, node: str | None, keep: str | None) -> timedelta:
    from reconciler.spec.scalars import parse_duration

    if node is not None:
        raise click.UsageError("an automatic checkpoint has no name of its own (leave NODE out)")
    if keep is None:
        return _KEEP if desired.schedule is None else desired.schedule.keep
    found = parse_duration(keep)
    if not found:
        raise CkptreeError(
            f"{keep!r} is no duration (write a number with a unit, for example 12h or 7d)"
        )
    return found


def _why_not(done: Plan, desired: DesiredVm, node: NodeName | None) -> str:
    own = [condition for condition in done.conditions if condition.node == node]
    found = next(iter([*own, *done.conditions]), None)
    if found is not None:
        return f"nothing is taken: {found.message}" + (
            f" ({found.resolve})" if found.resolve else ""
        )
    if node is not None:
        return f"{node} is there already (see 'ckptree tree {desired.vm}')"
    return f"nothing can be taken of {desired.vm} now (see 'ckptree plan {desired.vm}')"
