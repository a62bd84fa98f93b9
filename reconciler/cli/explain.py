"""``ckptree explain``: everything known of a VM or of one of its checkpoints, and every edit that would help."""

import hashlib
import json
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.session import Session, now
from reconciler.daemon.host import Observed
from reconciler.errors import CkptreeError, ExitCode, NameInvalid, ObservationFailed
from reconciler.model.desired import DesiredVm
from reconciler.names import NodeName
from reconciler.render.events_view import Event

if TYPE_CHECKING:
    from reconciler.render.explain_words import Known

_JOURNAL = 4 << 20  # bytes of a journal that are looked through


@click.command("explain")
@click.argument("vm")
@click.argument("node", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_obj
def command(session: Session, vm: str, node: str | None, as_json: bool) -> ExitCode:
    """Tell everything known of VM, or of its checkpoint NODE: what exists, what the file says, what waits and why."""
    from reconciler.plan.planner import make_plan
    from reconciler.render.explain import explain_node, explain_vm
    from reconciler.render.explain_text import render_explanation
    from reconciler.render.explain_words import Known

    moment, windows = now(), session.settings.windows
    (one,) = session.observe(session.select([vm]))
    known = Known(
        desired=one.desired,
        observation=one.observation,
        plan=make_plan(
            one.desired, one.observation, moment, restraint=session.restraint, windows=windows
        ),
        now=moment,
        source=_source(one.desired),
        events=_events(one),
        windows=windows,
    )
    name = None if node is None else _named(known, node)
    told = explain_vm(known) if name is None else explain_node(known, name)
    if as_json:
        click.echo(json.dumps(told.to_json(), indent=2))
    else:
        click.echo(render_explanation(told, session.style), nl=False)
    return ExitCode.NOTHING_TO_DO


def _named(known: "Known", text: str) -> NodeName:
    from reconciler.render.explain import names_of

    names, vm = names_of(known), known.desired.vm
    try:
        name = NodeName(text)
    except NameInvalid:
        name = None
    if name is not None and name in names:
        return name
    near = get_close_matches(text, [str(other) for other in names], n=3)
    hint = f"write {' or '.join(near)}" if near else f"'ckptree tree {vm}' shows which there are"
    if known.observation.reading.gaps:
        raise CkptreeError(
            f"no checkpoint {text!r} is known of VM {vm}, and not everything could be read ({hint})"
        )
    raise CkptreeError(f"VM {vm} has no checkpoint {text!r}, and never had ({hint})")


def _source(desired: DesiredVm) -> str:
    """The text that DESIRED was made from; empty if it is another one by now."""
    from reconciler.spec.file import trusted_bytes

    data = trusted_bytes(Path(desired.position.file))
    if isinstance(data, bytes) and hashlib.sha256(data).hexdigest() == desired.digest:
        return data.decode("utf-8", "replace")
    return ""


def _events(one: Observed) -> tuple[Event, ...]:
    from reconciler.drivers.journal_tail import JournalTail
    from reconciler.render.events_view import Story

    home = one.observation.reading.dataset(one.desired.dataset)
    if home is None or not home.mounted or home.mountpoint is None:
        return ()
    try:
        stretch = JournalTail(home.mountpoint).last(_JOURNAL)
    except ObservationFailed as error:
        click.echo(f"ckptree: {error}", err=True)
        return ()
    return Story(one.desired.vm).after(stretch.records)
