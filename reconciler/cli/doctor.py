"""``ckptree doctor``: check this host and what is on it, and tell which way ZFS is written."""

import json
from dataclasses import asdict, dataclass

import click

from reconciler.cli.session import Session
from reconciler.daemon.host import Observed
from reconciler.errors import CkptreeError, ExitCode


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; HINT says what to do where it is not well."""

    subject: str
    well: bool
    says: str
    hint: str = ""


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
@click.pass_obj
def command(session: Session, as_json: bool) -> ExitCode:
    """Check this host: the way ZFS is written, the documents, and every home. Exit code 1 if something is not well."""
    checks = [*_settings(session), *_host(session), *_documents(session)]
    if all(check.well for check in checks):
        checks += _homes(session)
    if as_json:
        click.echo(
            json.dumps({"version": 1, "checks": [asdict(check) for check in checks]}, indent=2)
        )
    else:
        width = max(len(check.subject) for check in checks)
        for check in checks:
            click.echo(f"{'ok' if check.well else 'BAD':<4}{check.subject:<{width}}  {check.says}")
            if check.hint:
                click.echo(f"{'':<{width + 6}}{check.hint}")
    return ExitCode.NOTHING_TO_DO if all(check.well for check in checks) else ExitCode.ERROR


def _settings(session: Session) -> list[Check]:
    """Check the settings, without which there is nothing else to check: their faults end the command."""
    source = session.source
    problem = source.problem
    checks = [Check("settings", True, f"documents from {source.place}")]
    if problem:
        checks.append(Check("source", False, problem, "put it right, then run 'ckptree fetch'"))
    elif source.revision is not None:
        checks.append(Check("source", True, f"revision {source.revision[:12]} is in force"))
    return checks


def _host(session: Session) -> list[Check]:
    import os
    import platform

    import yaml

    loader = "with libyaml" if yaml.__with_libyaml__ else "pure Python"
    checks = [
        Check("system", True, f"{platform.system()} {platform.release()}"),
        Check("python", True, f"{platform.python_version()}, PyYAML {yaml.__version__} ({loader})"),
        Check("host", True, f"{session.identity.name}, id {session.identity.host_id}"),
    ]
    try:
        choice = session.choice
        checks.append(Check("write path", True, f"{choice.zfs.name} ({choice.reason})"))
        count = len(choice.zfs.homes())
        checks.append(
            Check("zfs", True, f"readable; {count} home{'' if count == 1 else 's'} on this host")
        )
    except CkptreeError as error:
        checks.append(Check("zfs", False, str(error), "load ZFS and see that 'zfs list' works"))
    if os.geteuid() != 0:
        checks.append(
            Check(
                "user",
                False,
                "not root",
                "run it as root: only root may read a journal",
            )
        )
    return checks


def _documents(session: Session) -> list[Check]:
    try:
        loaded = session.loaded
    except CkptreeError as error:
        return [Check("documents", False, str(error))]
    says = f"{len(loaded.vms)} valid in {session.vms_path}, {len(loaded.findings)} faults"
    hint = f"run 'ckptree validate {session.vms_path}'" if loaded.findings else ""
    return [Check("documents", not loaded.findings, says, hint)]


def _homes(session: Session) -> list[Check]:
    from reconciler.model.tree import derive_tree
    from reconciler.plan.gate import closed_gates

    checks = []
    for one in session.observe(session.select(())):
        observation = one.observation
        tree = derive_tree(one.desired.vm, observation.reading, observation.link)
        gates = closed_gates(one.desired, observation, tree)
        if gates:
            checks += [Check(one.desired.vm, False, gate.message, gate.resolve) for gate in gates]
            continue
        head = tree.head.facts.name if tree.head is not None else "no branch"
        journal = "journal confirmed" if observation.journal.confirmed else "no confirmed journal"
        says = f"{len(tree.nodes)} checkpoints, guest on {head}, {journal}"
        checks.append(Check(one.desired.vm, True, says))
        checks.append(_guest(one))
    return checks


def _guest(one: Observed) -> Check:
    """Tell how the guest is run and whether its memory can be kept; that it can not is no fault of the host."""
    guest, ability = one.observation.guest, one.observation.ability
    proof = f" ({guest.proof})" if guest.proof else ""
    kept = "memory is kept" if ability.memory else f"disks only: {ability.why_not}"
    says = f"{one.hands.guest.name}, {guest.running.value}{proof}; {kept}"
    return Check(f"{one.desired.vm} guest", True, says)
