"""The journal as a file: durable, torn at its end at worst, and the lock of its VM."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from reconciler.drivers.journal import FileJournal, NoJournal
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
    JournalRecord,
    Left,
    Realised,
    Switched,
    Switching,
    TakenOver,
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
    assert journal(tmp_path).read() is None
    for record in EVERY_RECORD:
        journal(tmp_path).append(record)
    assert journal(tmp_path).read() == EVERY_RECORD


def test_only_root_may_read_it(tmp_path: Path) -> None:
    journal(tmp_path).append(Done(at="t"))
    assert (tmp_path / ".ckptree").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / ".ckptree" / "journal.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_cut_short_was_never_written(tmp_path: Path) -> None:
    journal(tmp_path).append(Confirmed(at="t", by="root"))
    path = tmp_path / ".ckptree" / "journal.jsonl"
    with path.open("a") as file:
        file.write('{"event": "Don')
    assert journal(tmp_path).read() == (Confirmed(at="t", by="root"),)
    journal(tmp_path).append(Done(at="t"))
    assert journal(tmp_path).read() == (Confirmed(at="t", by="root"), Done(at="t"))


@pytest.mark.parametrize("line", ['{"event": "Unheard-of"}', "[]", "nonsense", '{"event": "Done"}'])
def test_a_record_that_cannot_be_understood_is_unknown_and_not_absent(
    tmp_path: Path, line: str
) -> None:
    journal(tmp_path).append(Confirmed(at="t", by="root"))
    with (tmp_path / ".ckptree" / "journal.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ObservationFailed, match=r"journal\.jsonl:2: "):
        journal(tmp_path).read()


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
    assert journal(tmp_path).read() is None


def test_the_lock_ends_with_its_holder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), journal(tmp_path).locked("apply"):
        raise ZeroDivisionError
    with (tmp_path / ".ckptree" / "journal.jsonl").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_home_that_is_not_mounted_gets_no_journal() -> None:
    absent = NoJournal("tank/vm/web is not mounted")
    assert absent.read() is None
    with absent.locked("apply"), pytest.raises(StepFailed, match="not mounted"):
        absent.append(Done(at="t"))
