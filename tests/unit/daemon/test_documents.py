"""What is in force: the last valid document of every file. Invariant 9."""

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.daemon.documents import InForce, counts, known_at, read_again
from reconciler.names import VmName
from reconciler.source.directory import DirectorySource

WEB = "vm: web\ndataset: tank/web\ndisks: [d]\ncheckpoints: {base: }\n"
MAIL = "vm: mail\ndataset: tank/mail\ndisks: [d]\ncheckpoints: {base: }\n"
FAULTY = "vm: web\ndataset: tank/web\ndisks: [d]\ncheckpoints: [\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "web.yaml").write_text(WEB)
    (tmp_path / "mail.yaml").write_text(MAIL)
    return tmp_path


@pytest.fixture
def before(folder: Path) -> InForce:
    return read_again(InForce(), folder, DirectorySource(folder))


def names(in_force: InForce) -> list[str]:
    return [str(vm.vm) for vm in in_force.vms]


def test_valid_documents_are_in_force(before: InForce) -> None:
    assert names(before) == ["mail", "web"]
    assert before.faults == ()
    assert before.changed_since(InForce()) == {"mail", "web"}


def test_a_file_that_became_faulty_keeps_its_last_valid_document_in_force(
    folder: Path, before: InForce
) -> None:
    (folder / "web.yaml").write_text(FAULTY)
    after = read_again(before, folder, DirectorySource(folder))
    assert names(after) == ["mail", "web"]
    assert after.stale == {"web"}
    assert "web.yaml:" in after.faults[0]
    assert after.changed_since(before) == frozenset()


def test_a_document_counts_as_long_as_its_file_has_it(folder: Path, before: InForce) -> None:
    web = before.by_name[VmName("web")]
    assert counts(before, web)
    assert not counts(InForce(), web)
    (folder / "web.yaml").write_text(WEB.replace("base", "other"))
    assert not counts(before, web)
    assert not counts(read_again(before, folder, DirectorySource(folder)), web)
    (folder / "web.yaml").unlink()
    assert not counts(before, web)


def test_the_last_valid_document_of_a_faulty_file_counts(folder: Path, before: InForce) -> None:
    (folder / "web.yaml").write_text(FAULTY)
    after = read_again(before, folder, DirectorySource(folder))
    assert counts(after, after.by_name[VmName("web")])


def test_a_fault_does_not_keep_another_file_from_being_followed(
    folder: Path, before: InForce
) -> None:
    (folder / "web.yaml").write_text(FAULTY)
    (folder / "mail.yaml").write_text(MAIL.replace("base", "other"))
    assert read_again(before, folder, DirectorySource(folder)).changed_since(before) == {"mail"}


def test_a_file_that_never_was_valid_is_no_vm(folder: Path) -> None:
    (folder / "web.yaml").write_text(FAULTY)
    assert names(read_again(InForce(), folder, DirectorySource(folder))) == ["mail"]


@pytest.mark.parametrize(
    "change", [Path.unlink, lambda file: file.write_text("")], ids=["gone", "empty"]
)
def test_a_file_that_is_gone_or_empty_releases_its_vm(
    folder: Path, before: InForce, change: Callable[[Path], object]
) -> None:
    change(folder / "web.yaml")
    after = read_again(before, folder, DirectorySource(folder))
    assert names(after) == ["mail"]
    assert after.changed_since(before) == {"web"}


def test_a_folder_that_cannot_be_read_changes_nothing(folder: Path, before: InForce) -> None:
    after = read_again(before, folder / "elsewhere", DirectorySource(folder))
    assert after.vms == before.vms
    assert after.stale == {"mail", "web"}
    assert "no such file or folder" in after.faults[0]
    assert after.changed_since(before) == frozenset()


def test_the_old_document_gives_way_to_a_valid_one_of_the_same_vm(
    folder: Path, before: InForce
) -> None:
    (folder / "web.yaml").write_text("vm: [\n")
    (folder / "new.yaml").write_text(WEB)
    after = read_again(before, folder, DirectorySource(folder))
    assert names(after) == ["mail", "web"]
    assert after.stale == frozenset()
    assert after.by_name[VmName("web")].position.file.endswith("new.yaml")


def test_the_old_document_gives_way_to_another_vm_in_its_place(
    folder: Path, before: InForce
) -> None:
    (folder / "web.yaml").write_text("vm: [\n")
    (folder / "new.yaml").write_text(WEB.replace("vm: web", "vm: other"))
    assert names(read_again(before, folder, DirectorySource(folder))) == ["mail", "other"]


def test_the_fingerprint_is_another_one_after_every_kind_of_change(folder: Path) -> None:
    seen = [known_at(folder, None)]
    assert known_at(folder, None) == seen[0], "what did not change has the same one"
    for change in (
        lambda: (folder / "web.yaml").write_text(WEB.replace("base", "bass")),
        lambda: (folder / "web.yaml").rename(folder / "www.yaml"),
        lambda: (folder / "more.yml").symlink_to(folder / "nowhere"),
        lambda: (folder / "mail.yaml").chmod(0o666),
        (folder / "mail.yaml").unlink,
    ):
        change()
        seen.append(known_at(folder, None))
    assert None not in seen
    assert len(set(seen)) == len(seen)


def test_files_that_are_no_documents_do_not_count(folder: Path) -> None:
    before = known_at(folder, None)
    (folder / ".web.yaml.swp").write_text("x")
    (folder / "notes.txt").write_text("x")
    assert known_at(folder, None) == before


def test_a_single_file_has_a_fingerprint_and_what_is_not_there_has_none(folder: Path) -> None:
    assert known_at(folder / "web.yaml", None) is not None
    assert known_at(folder / "nowhere", None) is None
