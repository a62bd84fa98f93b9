"""The end of a journal: whole records only, never more than asked, and what was appended since."""

from pathlib import Path

import pytest

from reconciler.drivers.journal import FileJournal
from reconciler.drivers.journal_tail import JournalTail
from reconciler.errors import ObservationFailed
from reconciler.model.journal import Done, Failed, Intended
from reconciler.names import NodeName


def journal(home: Path) -> FileJournal:
    return FileJournal(str(home), lambda _: None)


def filled(home: Path, count: int) -> JournalTail:
    written = journal(home)
    for number in range(count):
        written.append(Failed(at="", error=f"e{number}"))
    return JournalTail(str(home))


def test_a_journal_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    assert JournalTail(str(tmp_path)).last(100).records == ()
    assert JournalTail(str(tmp_path)).after(0).records == ()


def test_a_short_journal_is_read_whole(tmp_path: Path) -> None:
    tail = filled(tmp_path, 3)
    stretch = tail.last(1 << 20)
    assert [type(record) for record in stretch.records] == [Failed, Failed, Failed]
    assert not stretch.cut
    assert stretch.end == tail.path.stat().st_size


def test_of_a_long_one_the_last_whole_records_are_read(tmp_path: Path) -> None:
    tail = filled(tmp_path, 50)
    every = tuple(Failed(at="", error=f"e{number}") for number in range(50))
    size = tail.path.stat().st_size
    for most in range(1, size + 2):
        stretch = tail.last(most)
        count = len(stretch.records)
        assert stretch.records == every[len(every) - count :], most
        assert stretch.end == size, most
        assert stretch.cut == (most < size), most
        line = size // 50
        assert count >= most // (line + 1) - 1, most


def test_what_is_appended_is_read_once(tmp_path: Path) -> None:
    tail = filled(tmp_path, 2)
    position = tail.last(1 << 20).end
    assert tail.after(position).records == ()
    intended = Intended(
        at="", step="s", target="t", action="Capture", nodes=[NodeName("a")], steps=2
    )
    journal(tmp_path).append(intended)
    stretch = tail.after(position)
    assert stretch.records == (intended,)
    assert tail.after(stretch.end).records == ()


def test_half_a_record_is_left_until_it_is_whole(tmp_path: Path) -> None:
    tail = filled(tmp_path, 1)
    position = tail.last(1 << 20).end
    with tail.path.open("ab") as stream:
        stream.write(b'{"at": "", "event"')
    half = tail.after(position)
    assert (half.records, half.end) == ((), position)
    journal(tmp_path).append(Done(at=""))  # takes the half one away
    assert tail.after(half.end).records == (Done(at=""),)


def test_another_journal_in_its_place_is_read_from_its_beginning(tmp_path: Path) -> None:
    tail = filled(tmp_path, 5)
    position = tail.last(1 << 20).end
    tail.path.unlink()
    journal(tmp_path).append(Done(at=""))
    assert tail.after(position).records == (Done(at=""),)


def test_a_line_that_cannot_be_read_is_counted_and_passed_over(tmp_path: Path) -> None:
    tail = filled(tmp_path, 1)
    with tail.path.open("ab") as stream:
        stream.write(b'nonsense\n{"event": "OfTomorrow", "at": ""}\n\xff\n')
    journal(tmp_path).append(Done(at=""))
    stretch = tail.last(1 << 20)
    assert stretch.records == (Failed(at="", error="e0"), Done(at=""))
    assert stretch.unreadable == 3


def test_a_journal_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    tail = filled(tmp_path, 1)
    tail.path.unlink()
    tail.path.mkdir()
    with pytest.raises(ObservationFailed, match="Is a directory"):
        tail.last(100)


def test_records_written_before_actions_were_named_are_read(tmp_path: Path) -> None:
    tail = filled(tmp_path, 1)
    with tail.path.open("ab") as stream:
        stream.write(b'{"at": "", "step": "Hold", "target": "t", "event": "Intended"}\n')
    assert tail.last(1 << 20).records[-1] == Intended(at="", step="Hold", target="t")
    assert journal(tmp_path).facts().intended == "Hold"
