"""Windows and the schedule as they are written, and what is said of faults in them."""

from datetime import time, timedelta

import pytest

from reconciler.model.desired import DesiredVm, MemoryWish, Schedule
from reconciler.model.windows import ALWAYS, Window, Windows
from reconciler.spec.load import load_text
from reconciler.spec.parse import parse
from reconciler.spec.read import Reader
from reconciler.spec.syntax import MappingNode
from reconciler.spec.windows import read_windows

HEAD = "vm: web\ndataset: tank/vm/web\ndisks: [disk0.img]\ncheckpoints: {}\n"
LIST = "write a list, for example [{days: [sat, sun], from: 22:00, until: 06:00}]"


def loaded(text: str) -> DesiredVm:
    result = load_text(HEAD + text, "f")
    assert isinstance(result, DesiredVm), result
    return result


@pytest.mark.parametrize("quote", ["", '"'])
def test_windows_are_read_with_their_zone(quote: str) -> None:
    night = f"from: {quote}22:00{quote}, until: {quote}06:00{quote}"
    vm = loaded(
        f"windows: {{zone: Europe/Berlin, pause: [{{days: [sat, sun], {night}}}], destroy: [{{{night}}}]}}\n"
    )
    hours = {"start": time(22), "end": time(6), "zone": "Europe/Berlin"}
    assert vm.windows == Windows(
        paused=(Window(days=frozenset({5, 6}), **hours),),  # type: ignore[arg-type]
        destroyed=(Window(days=frozenset(range(7)), **hours),),  # type: ignore[arg-type]
    )


def test_what_is_not_written_is_always_open_and_in_utc() -> None:
    assert loaded("").windows == ALWAYS
    vm = loaded("windows: {destroy: [{from: 00:00, until: 24:00}]}\n")
    assert vm.windows.paused is None
    assert vm.windows.destroyed == (
        Window(days=frozenset(range(7)), start=time(0), end=time(0), zone="UTC"),
    )


def test_a_schedule_has_the_memory_only_where_that_is_asked_for() -> None:
    kept = {"every": timedelta(hours=1), "keep": timedelta(days=7)}
    assert loaded("schedule: {every: 1h, keep: 7d}\n").schedule == Schedule(**kept)  # type: ignore[arg-type]
    assert Schedule(**kept).memory is MemoryWish.NEVER  # type: ignore[arg-type]
    vm = loaded("schedule: {every: 1h, keep: 7d, memory: auto}\n")
    assert vm.schedule is not None
    assert vm.schedule.memory is MemoryWish.AUTO


FAULTS = [
    ("{zone: Europe/Berln}",
     ["17: 'Europe/Berln' is no time zone that this host knows (write one of the IANA's, for example Europe/Berlin)"]),
    ("{zone: ../passwd}",
     ["17: '../passwd' is no time zone that this host knows (write one of the IANA's, for example Europe/Berlin)"]),
    ("{pauze: []}", ["11: unknown key 'pauze' (write 'pause')"]),
    ("{pause: [{days: [sat], from: 22:00}]}", ["19: the key 'until' is missing (write 'until: 06:00')"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *FAULTS,
        ("{pause: []}", [f"18: this is not a valid list of windows ({LIST})"]),
        ("{pause: always}", [f"18: 'pause' must be a list, not 'always' ({LIST})"]),
        ("{pause: [{days: [sunday], from: 25:00, until: 06:00}]}",
         ["27: 'sunday' is no value of item 1 (write mon, tue, wed, thu, fri, sat or sun)",
          "42: '25:00' is not a valid time of the day (write hours and minutes, for example 22:00)"]),
        ("night", ["10: 'windows' must be a mapping, not 'night' (write 'pause:' or 'destroy:' below it)"]),
    ],
)  # fmt: skip
def test_a_fault_in_a_document_is_said_once_and_where_it_is(text: str, expected: list[str]) -> None:
    result = load_text(f"{HEAD}windows: {text}\n", "f")
    assert isinstance(result, tuple)
    assert [str(finding) for finding in result] == [f"f:5:{line}" for line in expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *FAULTS,
        ("{pause: []}", [f"18: 'pause' has no list of windows ({LIST})"]),
        ("{pause: [night]}", ["19: this is no window (write {from: 22:00, until: 06:00})"]),
        ("{pause: [{days: [sunday, [sat]], from: 25:00, until: [6]}]}",
         ["27: 'sunday' is no day of the week (write mon, tue, wed, thu, fri, sat or sun)",
          "35: this is no day (write mon, tue, wed, thu, fri, sat or sun)",
          "49: '25:00' is no time of the day (write hours and minutes, for example 22:00)",
          "63: 'until' has no time of the day (write hours and minutes, for example 22:00)"]),
        ("{pause: [{days: sat, from: 1:00, until: 06:60}]}",
         ["26: 'days' has no list of days (write for example [sat, sun])",
          "37: '1:00' is no time of the day (write hours and minutes, for example 22:00)",
          "50: '06:60' is no time of the day (write hours and minutes, for example 22:00)"]),
        ("night", ["10: 'windows' must be a mapping (write 'pause:' or 'destroy:' below it)"]),
        ("{zone: []}", ["17: no time zone (write one of the IANA's, for example Europe/Berlin)"]),
    ],
)  # fmt: skip
def test_a_fault_is_found_without_a_schema_too(text: str, expected: list[str]) -> None:
    root = parse(f"windows: {text}\n", "f").root
    assert isinstance(root, MappingNode)
    reader = Reader(())
    read_windows(reader, root.get("windows"))
    assert [str(finding) for finding in reader.findings] == [f"f:1:{line}" for line in expected]
