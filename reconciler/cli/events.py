"""``ckptree events``: what happened to the VMs, from the journals of this host, with or without a daemon."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from threading import Event as Flag
from typing import TYPE_CHECKING

import click

from reconciler import paths
from reconciler.cli.session import Session, now
from reconciler.errors import CkptreeError, ExitCode, ObservationFailed
from reconciler.names import VmName

if TYPE_CHECKING:
    from reconciler.drivers.journal_tail import JournalTail
    from reconciler.render.events_view import Event, Story

_SHOWN = 50
_FIRST_LOOK = 64 << 10  # bytes of a journal
_EVERY = 1.0  # seconds
_OLDEST = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Told:
    """A journal that is told from, and how far."""

    tail: "JournalTail"
    story: "Story"
    position: int = 0
    cut: bool = False
    unreadable: int = 0


@click.command("events")
@click.argument("vms", nargs=-1, metavar="[VM...]")
@click.option(
    "--since", metavar="2h|TIME", help="Tell what happened since then; without it the newest 50."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--follow", "-f", is_flag=True, help="Go on telling until Ctrl-C.")
@click.pass_obj
def command(
    session: Session, vms: tuple[str, ...], since: str | None, as_json: bool, follow: bool
) -> ExitCode:
    """Tell what happened to the VMs, or to all, the newest last: taken, restored, removed, failed, and who asked."""
    begin = None if since is None else _moment(since)
    journals, faulty = _open(session, vms)
    events: list[Event] = []
    for told in journals:
        try:
            events += _past(told, begin)
        except ObservationFailed as error:
            click.echo(f"ckptree: {error}", err=True)
            faulty = True
    events.sort(key=lambda event: event.at or _OLDEST)
    left_out = begin is None and len(events) > _SHOWN
    shown = events[-_SHOWN:] if begin is None else events
    width = max((len(told.story.vm) for told in journals), default=0)
    _print(session, shown, as_json=as_json, width=width)
    if not as_json:
        _close(session, journals, nothing=not shown, left_out=left_out)
    if follow:
        _follow(session, journals, as_json=as_json, width=width)
    return ExitCode.ERROR if faulty else ExitCode.NOTHING_TO_DO


def _moment(text: str) -> datetime:
    from reconciler.spec.scalars import parse_duration, parse_moment

    if (duration := parse_duration(text)) is not None:
        return now() - duration
    if (moment := parse_moment(text)) is not None:
        return moment
    raise CkptreeError(
        f"--since {text!r} is neither a duration nor a time (write for example 2h, 2026-11-25 or 2026-11-25T03:00Z)"
    )


def _open(session: Session, names: Sequence[str]) -> tuple[list[_Told], bool]:
    """Find the homes of the VMs with NAMES (all for none), and whether one is not mounted; no document is needed."""
    from reconciler.drivers.journal_tail import JournalTail
    from reconciler.render.events_view import Story

    zfs = session.choice.zfs
    homes = sorted(zfs.homes().items(), key=lambda item: (item[1], item[0]))
    known = [name for _, name in homes]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"write {near[0]}" if near else "see 'ckptree status'"
            raise CkptreeError(f"no home on this host is of VM {name} ({hint})")
    found, faulty = [], False
    for home, name in homes:
        if names and name not in names:
            continue
        path = zfs.mounted_at(home)
        if path is None:
            click.echo(
                f"ckptree: {name}: {home} is not mounted, so its journal cannot be read"
                f" (run 'zfs mount {home}')",
                err=True,
            )
            faulty = True
        else:
            found.append(_Told(JournalTail(path), Story(VmName(name))))
    return found, faulty


def _past(told: _Told, since: datetime | None) -> "list[Event]":
    """Read as much of the end of the journal as SINCE needs; without it a piece that is never long."""
    from reconciler.drivers.journal_tail import LONGEST
    from reconciler.render.events_view import Story

    most = _FIRST_LOOK
    while True:
        story = Story(told.story.vm)
        stretch = told.tail.last(most)
        events = story.after(stretch.records)
        first = next((event.at for event in events if event.at is not None), None)
        enough = since is None or (first is not None and first < since)
        if enough or not stretch.cut or most >= LONGEST:
            break
        most *= 8
    told.story, told.position = story, stretch.end
    told.cut, told.unreadable = stretch.cut and not (since and enough), stretch.unreadable
    if since is None:
        return list(events)
    return [event for event in events if event.at is not None and event.at >= since]


def _print(session: Session, events: "Iterable[Event]", *, as_json: bool, width: int) -> None:
    from reconciler.render.events_text import render_event

    for event in events:
        if as_json:
            click.echo(json.dumps(event.to_json()))
        else:
            click.echo(render_event(event, session.style, width), nl=False)


def _close(session: Session, journals: list[_Told], *, nothing: bool, left_out: bool) -> None:
    """Say what is going on now, what was left out, and whether a daemon runs."""
    from reconciler.daemon.client import presence, presence_text
    from reconciler.render.style import Role

    lines = ["nothing happened"] if nothing else []
    for told in journals:
        work = told.story.at_work
        if work is not None:
            since = "" if work[0] is None else f" since {work[0]:%Y-%m-%d %H:%M:%SZ}"
            lines.append(f"{told.story.vm}: {work[1]}{since}, or interrupted at it")
        if told.unreadable:
            lines.append(f"{told.story.vm}: {told.unreadable} lines of {told.tail.path} cannot be read")  # fmt: skip
    cut = [told for told in journals if told.cut]
    if left_out or cut:
        lines.append("there are older events (write for example '--since 7d' to see them)")
    lines.append(presence_text(presence(paths.SOCKET), now()))
    for line in lines:
        click.echo(session.style.paint(line, Role.DIM))


def _follow(session: Session, journals: list[_Told], *, as_json: bool, width: int) -> None:
    """Tell what is written from now on, until a person ends it."""
    wait = Flag()
    try:
        while not wait.wait(_EVERY):
            events: list[Event] = []
            for told in journals:
                try:
                    stretch = told.tail.after(told.position)
                except ObservationFailed:
                    continue  # a home that is not mounted for a moment
                told.position = stretch.end
                events += told.story.after(stretch.records)
            events.sort(key=lambda event: event.at or _OLDEST)
            _print(session, events, as_json=as_json, width=width)
    except KeyboardInterrupt:
        click.echo(err=True)
