"""Text that is refused before its meaning is looked at: one sentence, with line and column."""

import pytest

from reconciler.spec.load import load_text

HEAD = "vm: web\ndataset: tank/vm/web\ndisks: [disk0.img]\n"


def findings(data: str | bytes) -> list[str]:
    result = load_text(data, "f")
    assert isinstance(result, tuple)
    return [str(finding) for finding in result]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            b"\xef\xbb\xbfvm: web\n",
            ["f:1:1: a byte order mark (save the file as UTF-8 without one)"],
        ),
        (
            "# é\nvm: é".encode() + b"\xff\n",
            ["f:2:6: the file is not UTF-8 text (save it with the encoding UTF-8)"],
        ),
        (b"vm: a\x00b\n", ["f:1:6: the character U+0000 is not allowed (remove it)"]),
        (b"vm: a\rdataset: b\n", ["f:1:6: a lone carriage return (end lines with a line feed)"]),
        (
            "vm: a\u202eb\nx: \u2028\n".encode(),
            [
                "f:1:6: the character U+202E is not allowed (remove it)",
                "f:2:4: the character U+2028 is not allowed (remove it)",
            ],
        ),
        (b"vm: web\n\tx: y\n", ["f:2:1: a tab character (write spaces)"]),
        (
            b"%YAML 1.2\n---\nvm: a\n",
            ["f:1:1: a line that begins with '%' (remove this directive)"],
        ),
        (
            b"x" * (1024 * 1024 + 1),
            ["f:1:1: the file is larger than 1 MiB (write one file for each VM, and less text)"],
        ),
    ],
    ids=["bom", "latin-1", "nul", "cr", "odd-breaks", "tab", "directive", "large"],
)
def test_characters_that_readers_disagree_about_are_refused(
    data: bytes, expected: list[str]
) -> None:
    assert findings(data) == expected


def test_carriage_returns_at_line_ends_and_tabs_in_comment_lines_are_fine() -> None:
    result = load_text(f"{HEAD}# a\tb\ncheckpoints: {{}}\n".replace("\n", "\r\n"), "f")
    assert not isinstance(result, tuple)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b: c", "f:4:5: a second ':' here, or a wrong indentation (put the text in quotes)"),
        ("a", "f:4:2: a line without ':' (write 'key: value')"),
        ("a:\n   b:\n  c:", "f:6:3: the indentation fits no line above (indent it like its neighbours)"),
        ("a: 'b\n\nc: d", "f:4:4: a quote is never closed (write the closing quote)"),
        ("a: [b\nc: d", "f:5:2: a list in brackets is not closed here (write ',' or ']')"),
        ("a: {b", "f:4:6: a mapping in braces is not closed here (write ',' or '}')"),
        ("a: {", "f:4:5: something is missing (write the value, or close the bracket)"),
        ("a: @b", "f:4:4: text cannot begin with this character (put the text in quotes)"),
        ("a: *", "f:4:5: text cannot begin with '&' or '*' (put the text in quotes)"),
        ('a: "\\q"', "f:4:6: an unknown escape after '\\' (write '\\\\', or use single quotes)"),
        ("a: b - c\n  - d: e", "f:5:6: a second ':' here, or a wrong indentation (put the text in quotes)"),
        ('a: "\\U99999999"', "f:4:5: this escape stands for no character (write the character itself)"),
        ('a: "\\UFFFFFFFF"', "f:4:5: this escape stands for no character (write the character itself)"),
        ("---\na: b", "f:4:1: a second document (write each VM in a file of its own)"),
        ("x: |#\n  y", "f:4:5: a wrong number after '|' or '>' (remove the number)"),
        ("x: [a?b]", "f:4:6: a list in brackets is not closed here (write ',' or ']')"),
    ],
)  # fmt: skip
def test_a_syntax_error_is_one_sentence_of_our_own(text: str, expected: str) -> None:
    assert findings(f"{HEAD}{text}\n") == [expected]


def test_everything_that_is_not_a_tree_of_plain_values_is_named() -> None:
    text = f"{HEAD}checkpoints: {{a: &x {{}}, b: *x, <<: {{}}, [1]: 2, c: !!str d, ~: e}}\n"
    assert findings(text) == [
        "f:4:18: the anchor &x (write the value without it)",
        "f:4:28: the alias *x (write the value itself)",
        "f:4:32: the merge key '<<' (write the keys themselves)",
        "f:4:40: a key that is a list or a mapping (write one word)",
        "f:4:51: the tag '!!str' (write the value without it)",
    ]


def test_a_repeated_key_names_the_first() -> None:
    text = f"{HEAD}checkpoints:\n  a:\n  b:\n  a: {{protect: true, protect: false}}\n"
    assert findings(text) == [
        "f:7:3: the key 'a' is written twice, first in line 5 (write it once)",
        "f:7:22: the key 'protect' is written twice, first in line 7 (write it once)",
    ]


def test_control_characters_cannot_be_escaped_in() -> None:
    text = f'{HEAD}checkpoints: {{a: {{about: "\\e[1m"}}, b: {{about: "\\ud800"}}}}\n'
    assert findings(text) == [
        "f:4:26: the text holds the character U+001B (remove it)",
        "f:4:47: the text holds the character U+D800 (remove it)",
    ]


@pytest.mark.parametrize("opening", ["[", "{a: ", "{? "], ids=["list", "mapping", "key"])
def test_endless_nesting_is_refused_early(opening: str) -> None:
    (finding,) = findings(opening * 100_000)
    assert "deep" in finding or "list or a mapping" in finding


def test_a_hundred_checkpoints_below_one_another_are_read() -> None:
    tree = "".join(
        f"{' ' * 2 * depth}checkpoints:\n{' ' * (2 * depth + 1)}n{depth}:\n" for depth in range(100)
    )
    result = load_text(HEAD + tree, "f")
    assert not isinstance(result, tuple)
    assert len(result.nodes) == 100
    (finding,) = findings(HEAD + tree + f"{' ' * 200}checkpoints:\n{' ' * 201}x:\n")
    assert finding == (
        "f:204:201: nested more than 200 levels deep (write fewer levels; two levels are one checkpoint below another)"
    )


def test_a_flood_of_faults_is_cut() -> None:
    lines = findings("\t\n" * 1000)
    assert len(lines) == 201
    assert lines[-1] == "f:200:1: and 800 more faults after this (start above)"
