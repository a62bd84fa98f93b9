"""The journal as a file: durable, torn at its end at worst, and the lock of its VM."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from reconciler.drivers.journal import FileJournal, NoJournal
from reconciler.drivers.journal_tail import JournalTail
from reconciler.errors import ObservationFailed, StepFailed
from reconciler.model.journal import (
    Applied,
    Approved,
    Begun,
    Confirmed,
    Done,
    Failed,
    Forgotten,
    Intended,
    JournalFacts,
    JournalRecord,
    Left,
    Realised,
    Switched,
    Switching,
    TakenOver,
    facts_of,
)
from reconciler.names import NodeName

BASE = NodeName("base")
EVERY_RECORD: tuple[JournalRecord, ...] = (
    Confirmed(at="t", by="root"),
    Begun(at="t", by="root", plan="p", file="web.yaml", file_digest="d"),
    Intended(at="t", step="Hold", target="tank@a"),
    Done(at="t"),
    Failed(at="t", error="busy"),
    Switching(at="t", guid=2**64 - 1, node=BASE, again=None, before=3, left=Left.SAVED),
    Switched(at="t"),
    Realised(at="t", nodes={BASE: 2**63 + 1}),
    Applied(at="t", file_digest="d", current=BASE, again="x", position=None, head=1),
    Approved(at="t", by="root", digest="d", guids=[1, 2]),
    Forgotten(at="t", by="root", node=BASE),
    TakenOver(at="t", by="root", before="another"),
)


def journal(home: Path) -> FileJournal:
    return FileJournal(str(home), lambda _: None)


def test_what_is_appended_is_read_again(tmp_path: Path) -> None:
    assert not journal(tmp_path).facts().exists
    for number, record in enumerate(EVERY_RECORD, 1):
        journal(tmp_path).append(record)
        assert journal(tmp_path).facts() == facts_of(EVERY_RECORD[:number])
    assert JournalTail(str(tmp_path)).last(1 << 20).records == EVERY_RECORD


@pytest.mark.parametrize("in_place", [True, False])
def test_another_journal_in_its_place_is_read_anew(tmp_path: Path, in_place: bool) -> None:
    journal(tmp_path).append(Realised(at="t", nodes={BASE: 1}))
    path = tmp_path / ".ckptree" / "journal.jsonl"
    other = path.read_bytes().replace(b"1}", b"2}")
    journal(tmp_path).append(Done(at="t"))
    assert journal(tmp_path).facts().realised == {BASE: 1}
    if not in_place:
        path.unlink()
    path.write_bytes(other * 9)
    assert journal(tmp_path).facts().realised == {BASE: 2}
    path.unlink()
    assert not journal(tmp_path).facts().exists


def test_only_root_may_read_it(tmp_path: Path) -> None:
    journal(tmp_path).append(Done(at="t"))
    assert (tmp_path / ".ckptree").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".ckptree" / "journal.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_cut_short_was_never_written(tmp_path: Path) -> None:
    journal(tmp_path).append(Confirmed(at="t", by="root"))
    path = tmp_path / ".ckptree" / "journal.jsonl"
    with path.open("a") as file:
        file.write('{"event": "Don')
    assert journal(tmp_path).facts() == JournalFacts(exists=True, confirmed=True)
    journal(tmp_path).append(Forgotten(at="t", by="root", node=BASE))
    assert journal(tmp_path).facts() == JournalFacts(exists=True, confirmed=True)
    records = Confirmed(at="t", by="root"), Forgotten(at="t", by="root", node=BASE)
    assert JournalTail(str(tmp_path)).last(1 << 20).records == records


@pytest.mark.parametrize("read_before", [True, False])
@pytest.mark.parametrize("line", ['{"event": "Unheard-of"}', "[]", "nonsense", '{"event": "Done"}'])
def test_a_record_that_cannot_be_understood_is_unknown_and_not_absent(
    tmp_path: Path, line: str, read_before: bool
) -> None:
    journal(tmp_path).append(Confirmed(at="t", by="root"))
    if read_before:
        assert journal(tmp_path).facts().confirmed
    with (tmp_path / ".ckptree" / "journal.jsonl").open("a") as file:
        file.write(f"{line}\n")
    for _ in range(2):
        with pytest.raises(ObservationFailed, match=r"journal\.jsonl:2: "):
            journal(tmp_path).facts()


def test_the_second_writer_waits_and_says_for_whom(tmp_path: Path) -> None:
    told: list[str] = []
    entered = threading.Event()

    def second() -> None:
        with FileJournal(str(tmp_path), told.append).locked("apply by bob"):
            entered.set()

    with journal(tmp_path).locked("apply by alice"):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.2)
    thread.join(10)
    assert entered.is_set()
    assert told == [f"waiting for apply by alice (pid {os.getpid()})"]


def test_a_locked_journal_makes_no_record_by_itself(tmp_path: Path) -> None:
    with journal(tmp_path).locked("apply by alice"):
        pass
    assert not journal(tmp_path).facts().exists


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), journal(tmp_path).locked("apply"):
        raise ZeroDivisionError
    with (tmp_path / ".ckptree" / "journal.jsonl").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_home_that_is_not_mounted_gets_no_journal() -> None:
    absent = NoJournal("tank/vm/web is not mounted")
    assert absent.facts() == JournalFacts()
    with absent.locked("apply"), pytest.raises(StepFailed, match="not mounted"):
        absent.append(Done(at="t"))
