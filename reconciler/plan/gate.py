"""What must be so before anything at all is decided for a VM."""

from reconciler.model import properties
from reconciler.model.desired import DesiredVm
from reconciler.model.observed import LinkUnknown, Observation
from reconciler.model.plan import Condition, Reason, Severity
from reconciler.model.tree import Tree

ELSEWHERE = frozenset({Reason.OTHER_HOST, Reason.OWNED_ELSEWHERE})
"""The reasons that say that the VM is another host's."""


def closed_gates(desired: DesiredVm, observation: Observation, tree: Tree) -> tuple[Condition, ...]:
    """Tell every reason why nothing may be done for this VM now; none if planning may go on."""
    for gate in (_other_host, _unreadable, _not_initialised, _not_ours, _tampered):
        found = gate(desired, observation, tree)
        if found:
            return found
    return ()


def _condition(severity: Severity, reason: Reason, message: str, resolve: str = "") -> Condition:
    return Condition(severity=severity, reason=reason, message=message, resolve=resolve)


def _other_host(desired: DesiredVm, observation: Observation, _: Tree) -> tuple[Condition, ...]:
    if desired.host is None or desired.host == observation.host:
        return ()
    message = f"the file gives this VM to host {desired.host}, this is {observation.host}"
    return (_condition(Severity.NOTE, Reason.OTHER_HOST, message),)


def _unreadable(desired: DesiredVm, observation: Observation, _: Tree) -> tuple[Condition, ...]:
    pool = observation.pool
    if pool.unusable or pool.readonly:
        state = "read-only" if pool.readonly else pool.health
        return (
            _condition(
                Severity.WAIT,
                Reason.POOL_UNAVAILABLE,
                f"pool {pool.name} is {state}; nothing of {desired.vm} is touched",
                f"look at 'zpool status {pool.name}' and bring the pool back",
            ),
        )
    gaps = [f"{gap.name}: {gap.reason}" for gap in observation.reading.gaps]
    if isinstance(observation.link, LinkUnknown):
        gaps.append(f"the link: {observation.link.reason}")
    if not gaps:
        return ()
    return (
        _condition(
            Severity.WAIT,
            Reason.OBSERVATION_INCOMPLETE,
            f"what exists could not be read whole ({'; '.join(gaps[:3])}); nothing is touched",
            "put right what keeps it from being read, then plan again",
        ),
    )


def _not_initialised(desired: DesiredVm, _: Observation, tree: Tree) -> tuple[Condition, ...]:
    hint = f"run 'ckptree init {desired.vm}'"
    if tree.home is None:
        message = f"{desired.dataset} does not exist"
    elif properties.VM not in tree.home.properties or properties.BRANCH in tree.home.properties:
        message = f"{desired.dataset} exists and is not a home of ckptree yet"
    elif tree.home.properties[properties.VM] != desired.vm:
        owner = tree.home.properties[properties.VM]
        message = f"{desired.dataset} is the home of VM {owner}, the file calls it {desired.vm}"
        hint = f"write 'vm: {owner}', or give {desired.vm} a dataset of its own"
    elif not tree.branches:
        message = f"{desired.dataset} has no branch"
    else:
        return ()
    return (_condition(Severity.WAIT, Reason.NOT_INITIALISED, message, hint),)


def _not_ours(desired: DesiredVm, observation: Observation, tree: Tree) -> tuple[Condition, ...]:
    owner = tree.home.properties.get(properties.OWNER) if tree.home is not None else None
    if owner is None or owner == observation.host_id:
        return ()
    return (
        _condition(
            Severity.REFUSAL,
            Reason.OWNED_ELSEWHERE,
            f"{desired.dataset} belongs to the host with id {owner}, this host's is {observation.host_id}",
            f"if that host is gone for good, run 'ckptree take-over {desired.vm}'",
        ),
    )


def _tampered(_: DesiredVm, __: Observation, tree: Tree) -> tuple[Condition, ...]:
    return tuple(
        _condition(
            Severity.REFUSAL,
            Reason.TAMPERED,
            fault.message,
            f"look at 'zfs get all {fault.subject}' and remove the ckptree: properties that are wrong",
        )
        for fault in tree.faults
    )
