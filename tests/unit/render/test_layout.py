"""Units and wrapping."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from reconciler.render.layout import Page, Span, printable, shortened
from reconciler.render.style import Role, Style
from reconciler.render.units import age_text, bytes_text, count_text, time_text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (14_200_000_000, "13.2 GiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**3 - 40 * 1024, "1.0 GiB"),
        (1 << 70, "1024.0 EiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=45), "45 s"),
        (timedelta(minutes=90), "90 min"),
        (timedelta(hours=3, minutes=59), "3 h"),
        (timedelta(days=12), "12 d"),
        (timedelta(days=150), "5 mo"),
        (timedelta(days=800), "2 y"),
        (timedelta(hours=-3), "in 3 h"),
    ],
)
def test_age(age: timedelta, text: str) -> None:
    assert age_text(age) == text


def test_time_is_utc() -> None:
    moment = datetime(2026, 11, 24, 13, 0, 59, tzinfo=timezone(timedelta(hours=1)))
    assert time_text(moment) == "2026-11-24 12:00 UTC"
    assert time_text(moment.astimezone(UTC)) == "2026-11-24 12:00 UTC"


def test_count() -> None:
    assert [count_text(1, "snapshot"), count_text(2, "snapshot")] == ["1 snapshot", "2 snapshots"]
    assert count_text(0, "branch", "branches") == "0 branches"


def page(text: str, *, width: int = 30, **style: bool) -> str:
    made = Page(Style(width=width, **style))
    made.line(text, first="- ")
    return made.text()


def test_wraps_at_words() -> None:
    assert page("one two three four five six seven") == "- one two three four five six\n  seven\n"


def test_never_breaks_a_quoted_command() -> None:
    command = "'ckptree approve web 0123456789ab'"
    assert command in page(f"the guest's way is to run {command}, or not")


def test_width_of_nought_wraps_nothing() -> None:
    assert page("word " * 100, width=0).count("\n") == 1


def test_empty_text_has_no_line() -> None:
    assert Page(Style()).text() == ""


def test_blank_lines_are_single() -> None:
    made = Page(Style())
    made.blank()
    made.line("a")
    made.blank()
    made.blank()
    made.line("b")
    made.blank()
    assert made.text() == "a\n\nb\n"


def test_colour_ends_on_each_line() -> None:
    made = Page(Style(colour=True, width=30))
    made.line(Span("one two three four five six seven", Role.LOSS))
    first, second = made.text().splitlines()
    for line in (first, second):
        assert line.startswith("\x1b[1;31m")
        assert line.endswith("\x1b[0m")


def test_control_characters_are_shown_as_marks() -> None:
    assert printable("a\x1b[31mb\u202ec\nd", unicode=True) == "a?[31mb?c d"
    assert printable("Grün", unicode=False) == "Gr?n"


def test_shortened() -> None:
    assert shortened("one\ntwo", 20, Style()) == "one two"
    assert shortened("one two three", 8, Style()) == "one two…"
    assert shortened("one two three", 8, Style(unicode=False)) == "one t..."
