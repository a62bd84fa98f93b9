"""What `plan` and `apply` have in common about groups: which are whole among the VMs named, and how they are told."""

from collections.abc import Callable, Container, Sequence

import click

from reconciler.cli.session import Session, now
from reconciler.daemon.host import Observed
from reconciler.errors import CkptreeError
from reconciler.model.actions import Action
from reconciler.model.desired import DesiredVm
from reconciler.model.plan import Plan
from reconciler.names import VmName
from reconciler.plan.group import groups_of, joined, plan_group


def with_groups(
    plans: Sequence[Plan], observed: Sequence[Observed], session: Session
) -> tuple[Plan, ...]:
    """Show in PLANS, made of OBSERVED, the captures of the groups that `apply` would take with them."""
    by_name = {one.desired.vm: one for one in observed}
    shown = {plan.vm: plan for plan in plans}
    windows = session.settings.windows
    for group, members in _whole(session, by_name):
        planned = plan_group(
            group, [(vm, by_name[vm.vm].observation) for vm in members], now(), windows
        )
        for part in planned.plans if planned.ready else ():
            shown[part.vm] = joined(shown[part.vm], part)
    return tuple(shown[plan.vm] for plan in plans)


def take_groups(
    session: Session, vms: Sequence[DesiredVm], *, quiet: bool
) -> tuple[frozenset[VmName], bool]:
    """Take the groups that lie whole within VMS; gives the VMs of which one was taken, and whether any failed."""
    from reconciler.execute.together import Member, capture_together
    from reconciler.render.progress import progress_line

    style = session.style

    def progress(member: Member) -> Callable[[Action], None]:
        desired = member.desired

        def show(action: Action) -> None:
            if not quiet:
                click.echo(progress_line(desired.vm, desired.dataset, action, style))

        return show

    taken: set[VmName] = set()
    failed = False
    bound = session.settings.group_wait.total_seconds()
    for group, members in _whole(session, {vm.vm: vm for vm in vms}):
        hands = [Member(vm, session.hands(vm)) for vm in members]
        try:
            planned = capture_together(
                group,
                hands,
                session.identity,
                now,
                session.by,
                bound,
                progress,
                windows=session.settings.windows,
            )
        except CkptreeError as error:
            click.echo(f"ckptree: group {group}: {error}", err=True)
            failed = True
            continue
        for obstacle in planned.obstacles:
            click.echo(f"group {group} is not taken: {obstacle}", err=True)
        if planned.ready:
            taken.update(vm.vm for vm in members)
    return frozenset(taken), failed


def _whole(session: Session, chosen: Container[VmName]) -> list[tuple[str, tuple[DesiredVm, ...]]]:
    """The groups of all documents whose VMs are all CHOSEN."""
    found = groups_of(session.loaded.vms)
    return [
        (group, members)
        for group, members in found.items()
        if all(vm.vm in chosen for vm in members)
    ]
