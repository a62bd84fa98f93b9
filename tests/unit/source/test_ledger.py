"""What became of each revision: written once, bounded, and told to a program."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.errors import CkptreeError
from reconciler.source.ledger import Entry, Ledger, State
from reconciler.source.teller import CommandTeller

NOW = datetime(2026, 11, 25, 12, 0, 0, 999, tzinfo=UTC)
FIRST, SECOND = "1" * 40, "2" * 40


def ledger(state: Path) -> Ledger:
    return Ledger(state, lambda: NOW)


def test_what_is_noted_is_read_back(tmp_path: Path) -> None:
    assert ledger(tmp_path / "state").note(FIRST, State.WAITING, "web\nwaits")
    assert ledger(tmp_path / "state").entries() == (
        Entry(
            revision=FIRST,
            state=State.WAITING,
            message="web waits",
            at=NOW.replace(microsecond=0),
        ),
    )


def test_the_same_is_not_noted_twice_though_something_else_was_noted_between(
    tmp_path: Path,
) -> None:
    noted = ledger(tmp_path)
    assert noted.note(FIRST, State.WAITING, "a")
    assert noted.note(SECOND, State.APPLIED, "")
    assert not noted.note(FIRST, State.WAITING, "a")
    assert noted.note(FIRST, State.WAITING, "b")
    assert noted.note(FIRST, State.APPLIED, "b")


def test_the_latest_of_each_revision_is_given_newest_first(tmp_path: Path) -> None:
    noted = ledger(tmp_path)
    noted.note(FIRST, State.WAITING, "")
    noted.note(SECOND, State.REFUSED, "")
    noted.note(FIRST, State.APPLIED, "")
    assert [(e.revision, e.state) for e in noted.latest()] == [
        (FIRST, State.APPLIED),
        (SECOND, State.REFUSED),
    ]
    assert [e.revision for e in noted.latest("22")] == [SECOND]
    assert noted.last("3" * 40) is None


def test_it_does_not_grow_for_ever_and_keeps_the_newest(tmp_path: Path) -> None:
    noted = ledger(tmp_path)
    lines = [
        {"revision": f"{n:040x}", "state": "applied", "message": "", "at": "2026-11-25T12:00:00Z"}
        for n in range(1000)
    ]
    (tmp_path / "revisions.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    noted.note(FIRST, State.APPLIED, "")
    kept = noted.entries()
    assert len(kept) == 501
    assert (kept[0].revision, kept[-1].revision) == (f"{500:040x}", FIRST)


def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    noted = ledger(tmp_path)
    noted.note(FIRST, State.APPLIED, "")
    with (tmp_path / "revisions.jsonl").open("ab") as stream:
        stream.write(
            b'{"revision": "x", "state": "odd", "message": "", "at": ""}\n[]\n\xff\n{"rev\n'
        )
    assert [entry.revision for entry in noted.entries()] == [FIRST]


def test_two_processes_may_note_at_once(tmp_path: Path) -> None:
    def work(number: int) -> None:
        for step in range(20):
            ledger(tmp_path).note(f"{number}{step}", State.APPLIED, "")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ledger(tmp_path).entries()) == 80


def test_a_ledger_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(CkptreeError, match=r"revisions\.jsonl cannot be written"):
        ledger(tmp_path / "state").note(FIRST, State.APPLIED, "")


# ---- the program that is told ----------------------------------------------------------------------------------------


def program(folder: Path, text: str) -> str:
    file = folder / "tell"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


def test_a_program_is_told_of_each_change_once(tmp_path: Path) -> None:
    told = tmp_path / "told"
    teller = CommandTeller((program(tmp_path, f'printf "%s|" "$@" >> {told}'), "bsd07"))
    noted = Ledger(tmp_path, lambda: NOW, teller)
    for _ in range(3):
        noted.note(FIRST, State.REFUSED, "commit 1 is 'not' signed; $(id)")
    noted.close(30)
    assert told.read_text() == f"bsd07|{FIRST}|refused|commit 1 is 'not' signed; $(id)|"


def test_a_program_that_fails_delays_and_hurts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noted = Ledger(
        tmp_path, lambda: NOW, CommandTeller((program(tmp_path, "echo no >&2; exit 3"),))
    )
    assert noted.note(FIRST, State.APPLIED, "")
    noted.close(30)
    assert "was not told of revision 111111111111" in caplog.text


def test_a_program_that_others_may_replace_is_not_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = program(tmp_path, f"touch {tmp_path}/ran")
    Path(file).chmod(0o777)
    noted = Ledger(tmp_path, lambda: NOW, CommandTeller((file,)))
    noted.note(FIRST, State.APPLIED, "")
    noted.close(30)
    assert "it is not run: everybody may write to" in caplog.text
    assert not (tmp_path / "ran").exists()


def test_without_a_program_nobody_is_told(tmp_path: Path) -> None:
    noted = Ledger(tmp_path, lambda: NOW, CommandTeller(()))
    assert noted.note(FIRST, State.APPLIED, "")
    noted.close(0)
