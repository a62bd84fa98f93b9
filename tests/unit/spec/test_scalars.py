"""What plain words mean."""

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.model.desired import SourcePosition
from reconciler.spec.scalars import Kind, kind, parse_duration, parse_moment
from reconciler.spec.syntax import ScalarNode

HERE = SourcePosition("f", 1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Kind.NOTHING),
        ("~", Kind.NOTHING),
        ("null", Kind.NOTHING),
        ("true", Kind.TRUTH),
        ("True", Kind.WORD_OF_TRUTH),
        ("no", Kind.WORD_OF_TRUTH),
        ("on", Kind.WORD_OF_TRUTH),
        ("0", Kind.INTEGER),
        ("-12", Kind.INTEGER),
        ("9" * 5000, Kind.NUMBER),
        ("012", Kind.NUMBER),
        ("0o17", Kind.NUMBER),
        ("0x1F", Kind.NUMBER),
        ("1_000", Kind.NUMBER),
        ("1:30", Kind.NUMBER),
        ("1.10", Kind.NUMBER),
        ("1e3", Kind.NUMBER),
        (".5", Kind.NUMBER),
        (".inf", Kind.NUMBER),
        (".NaN", Kind.NUMBER),
        ("2026-12-24", Kind.DATE),
        ("2026-12-24T18:00:00Z", Kind.DATE),
        ("2026-12-24 18:00:00", Kind.DATE),
        ("14.3 fresh install", Kind.TEXT),
        ("14.3.1", Kind.TEXT),
        ("base", Kind.TEXT),
        ("none", Kind.TEXT),
        ("24h", Kind.TEXT),
        ("1" * 200_000 + "x", Kind.TEXT),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else value.name,
)
def test_a_plain_word_is_what_any_reader_takes_it_for(text: str, expected: Kind) -> None:
    assert kind(ScalarNode(text, plain=True, position=HERE)) is expected


def test_a_word_in_quotes_is_text() -> None:
    assert kind(ScalarNode("1.10", plain=False, position=HERE)) is Kind.TEXT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", timedelta(0)),
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("1h30m", timedelta(minutes=90)),
        ("1w1d1h1m1s", timedelta(days=8, seconds=3661)),
        ("", None),
        ("90", None),
        ("30m1h", None),
        ("1.5h", None),
        ("-1h", None),
        ("1 h", None),
        ("1h\n", None),
        ("999999w", None),
    ],
)
def test_a_duration_is_numbers_with_units(text: str, expected: timedelta | None) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-24", datetime(2026, 12, 24, tzinfo=UTC)),
        ("2026-12-24T18:00:00Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24T18:00Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24T00:30:00+02:00", datetime(2026, 12, 23, 22, 30, tzinfo=UTC)),
        ("2026-12-24T18:00:00", None),
        ("2026-12-24 18:00:00Z", None),
        ("2026-02-30", None),
        ("2026-12-24T25:00:00Z", None),
        ("2026-12-24T18:00:00+99:00", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("tomorrow", None),
    ],
)
def test_a_moment_is_utc_or_nothing(text: str, expected: datetime | None) -> None:
    assert parse_moment(text) == expected
