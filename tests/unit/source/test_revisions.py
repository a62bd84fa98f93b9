"""The documents of two revisions, out of real repositories."""

from pathlib import Path

import pytest

from reconciler.errors import CkptreeError
from reconciler.source.revisions import read_change, split_range
from tests.support.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit({"vms/web.yaml": "one", "vms/db.yml": b"\xff\x00", "vms/notes.txt": "x"})
    made.commit({"top.yaml": "top"})
    return made


def test_both_sides_are_read_byte_by_byte(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--create", "work")
    head = repository.commit({"vms/web.yaml": "two", "vms/db.yml": None, "vms/new ü.yaml": ""})
    change = read_change(repository.folder, "main", "work", "vms")
    assert change.before == {"vms/web.yaml": b"one", "vms/db.yml": b"\xff\x00"}
    assert change.after == {"vms/web.yaml": b"two", "vms/new ü.yaml": b""}
    assert change.head == head
    assert change.base == repository.git("rev-parse", "main")


@pytest.mark.parametrize("folder", ["", ".", "./"])
def test_without_a_folder_it_is_the_top_one_and_none_below_it(
    repository: Repository, folder: str
) -> None:
    change = read_change(repository.folder, "main", "HEAD", folder)
    assert change.before == change.after == {"top.yaml": b"top"}


def test_what_the_base_has_gained_meanwhile_is_in_what_comes_of_the_merge(
    repository: Repository,
) -> None:
    repository.git("switch", "--quiet", "--create", "work")
    repository.commit({"vms/new.yaml": "new"})
    repository.git("switch", "--quiet", "main")
    repository.commit({"vms/web.yaml": "two"})
    change = read_change(repository.folder, "main", "work", "vms")
    assert change.before == {"vms/web.yaml": b"two", "vms/db.yml": b"\xff\x00"}
    assert change.after == {**change.before, "vms/new.yaml": b"new"}
    assert repository.git("status", "--porcelain") == ""


def test_what_cannot_be_merged_is_refused_with_the_file(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--create", "work")
    repository.commit({"vms/web.yaml": "theirs"})
    repository.git("switch", "--quiet", "main")
    repository.commit({"vms/web.yaml": "ours"})
    with pytest.raises(CkptreeError, match=r"work cannot be merged .* changed vms/web\.yaml"):
        read_change(repository.folder, "main", "work", "vms")


def test_unrelated_histories_are_refused(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--orphan", "other")
    repository.commit({"x.yaml": "x"})
    with pytest.raises(CkptreeError, match=r"other cannot be merged into main: .* unrelated"):
        read_change(repository.folder, "main", "other", "")


def test_a_link_or_a_large_file_under_a_documents_name_is_a_fault(repository: Repository) -> None:
    (repository.folder / "vms/link.yaml").symlink_to("web.yaml")
    repository.commit({"vms/large.yaml": b"x" * (1024 * 1024 + 1), "vms/.hidden.yaml": "x"})
    after = read_change(repository.folder, "HEAD~", "HEAD", "vms").after
    assert after["vms/link.yaml"] == (
        "this is not a regular file",
        "remove it, or give it another ending",
    )
    assert after["vms/large.yaml"][0] == "the file is larger than 1 MiB"
    assert "vms/.hidden.yaml" not in after


def test_a_single_document_may_be_named(repository: Repository) -> None:
    assert read_change(repository.folder, "main", "main", "vms/web.yaml").after == {
        "vms/web.yaml": b"one"
    }


def test_from_a_folder_a_work_tree_and_a_bare_copy(repository: Repository, tmp_path: Path) -> None:
    repository.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    repository.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare"))
    for place in (repository.folder / "vms", tmp_path / "tree", tmp_path / "bare"):
        assert read_change(place, "main", "main", "vms").after["vms/web.yaml"] == b"one"


def test_a_new_folder_had_nothing_before(repository: Repository) -> None:
    repository.commit({"more/x.yaml": "x"})
    change = read_change(repository.folder, "HEAD~", "HEAD", "more")
    assert (change.before, change.after) == ({}, {"more/x.yaml": b"x"})


@pytest.mark.parametrize(
    ("base", "head", "folder", "complaint"),
    [
        ("nope", "main", "vms", "has no revision 'nope'"),
        ("main", "--output=x", "vms", "has no revision '--output=x'"),
        ("main", "main", "nowhere", "no folder 'nowhere' in main and main .*--path"),
        ("main", "main", "../etc", "leads out of the repository"),
    ],
)
def test_a_wrong_call_is_told(
    repository: Repository, base: str, head: str, folder: str, complaint: str
) -> None:
    with pytest.raises(CkptreeError, match=complaint):
        read_change(repository.folder, base, head, folder)


def test_no_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(CkptreeError, match=r"not in a git repository .*--repository"):
        read_change(tmp_path, "main", "main", "")


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("main..work", ("main", "work")),
        ("..work", ("HEAD", "work")),
        ("v1.0..v1.1", ("v1.0", "v1.1")),
    ],
)
def test_a_range(text: str, pair: tuple[str, str]) -> None:
    assert split_range(text) == pair


@pytest.mark.parametrize("text", ["main", "", "a...b", "a..b..c", "--x..y"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(CkptreeError, match=r"write REV1\.\.REV2"):
        split_range(text)
