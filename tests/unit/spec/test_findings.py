"""The forms in which a finding is shown."""

from reconciler.model.desired import SourcePosition
from reconciler.spec.findings import Finding, SpecInvalid, as_annotation, as_json, excerpt

FIRST = Finding(SourcePosition("web.yaml", 2, 1), "unknown key 'abuot'", "write 'about'")
SECOND = Finding(SourcePosition("web.yaml", 10, 3), "a tab character", "write spaces")


def test_text_is_file_line_column_message_and_what_to_write() -> None:
    assert str(FIRST) == "web.yaml:2:1: unknown key 'abuot' (write 'about')"


def test_findings_sort_by_line_as_a_number() -> None:
    assert sorted([SECOND, FIRST]) == [FIRST, SECOND]


def test_the_error_shows_every_finding_in_order() -> None:
    error = SpecInvalid((SECOND, FIRST))
    assert error.findings == (FIRST, SECOND)
    assert str(error) == f"{FIRST}\n{SECOND}"


def test_json_has_every_part_by_name() -> None:
    assert as_json(FIRST) == {
        "file": "web.yaml",
        "line": 2,
        "column": 1,
        "message": "unknown key 'abuot'",
        "hint": "write 'about'",
    }


def test_annotation_escapes_what_would_end_it() -> None:
    finding = Finding(SourcePosition("a,b:c.yaml", 1, 2), "100%\nbad", "write less")
    expected = "::error file=a%2Cb%3Ac.yaml,line=1,col=2::100%25%0Abad (write less)"
    assert as_annotation(finding) == expected


def test_an_excerpt_is_short_and_printable() -> None:
    assert excerpt("a\x1b[1m\n\udcff") == "'a\\x1b[1m\\n\\udcff'"
    assert excerpt("x" * 100) == "'" + "x" * 57 + "...'"
