"""What is remembered of a repository, whole or not at all; and a folder, of which nothing is remembered."""

from dataclasses import asdict
from pathlib import Path

import pytest

from reconciler.errors import CkptreeError
from reconciler.model.plan import Restraint
from reconciler.source.directory import DirectorySource
from reconciler.source.standing import Standing, StandingFile


def test_what_was_written_is_read(tmp_path: Path) -> None:
    standing = Standing(accepted="a", cleared="b", why="w", refused="r", problem="p")
    StandingFile(tmp_path).write(standing)
    assert StandingFile(tmp_path).read() == standing
    assert [file.name for file in tmp_path.iterdir()] == ["standing.json"]


def test_what_was_never_written_is_as_at_the_beginning(tmp_path: Path) -> None:
    assert StandingFile(tmp_path).read() == Standing()


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[]", "1", '{"accepted": 1}', "\x00", '{"accepted": ["a"]}']
)
def test_what_is_damaged_is_no_new_beginning(tmp_path: Path, text: str) -> None:
    (tmp_path / "standing.json").write_text(text)
    with pytest.raises(CkptreeError) as raised:
        StandingFile(tmp_path).read()
    assert str(raised.value) == (
        f"{tmp_path}/standing.json is damaged (move it away to begin anew)"
    )


def test_what_cannot_be_read_is_no_new_beginning(tmp_path: Path) -> None:
    (tmp_path / "standing.json").mkdir()
    with pytest.raises(CkptreeError) as raised:
        StandingFile(tmp_path).read()
    assert str(raised.value) == f"{tmp_path}/standing.json cannot be read: Is a directory"


def test_keys_of_a_newer_version_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "standing.json").write_text('{"accepted": "a", "later": {"x": 1}}')
    assert asdict(StandingFile(tmp_path).read())["accepted"] == "a"


def test_an_approval_is_read_back(tmp_path: Path) -> None:
    assert StandingFile(tmp_path).approved is None
    StandingFile(tmp_path).approve("abc")
    assert StandingFile(tmp_path).approved == "abc"


def test_an_approval_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(CkptreeError, match="approved cannot be written"):
        StandingFile(tmp_path / "nowhere").approve("abc")


def test_a_folder_is_always_as_it_is(tmp_path: Path) -> None:
    source = DirectorySource(tmp_path)
    assert (source.path, source.place, source.revision, source.problem) == (
        tmp_path, str(tmp_path), None, "",
    )  # fmt: skip
    assert source.restraint_of(None) == Restraint()
    assert not source.refresh().changed
