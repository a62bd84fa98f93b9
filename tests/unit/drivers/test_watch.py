"""An edit is noticed, however it is written; reading is not; nothing is watched in a VM's home."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import pytest

from reconciler.drivers.watch import FolderWatch

SECONDS = 20.0


class Watched:
    """The folder vms.d below FOLDER, a document in it, and whether anything was noticed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "etc" / "vms.d"
        self.folder.mkdir(parents=True)
        self.file = self.folder / "web.yaml"
        self.file.write_text("vm: web\n")
        self.noticed = Event()
        self.watch = FolderWatch(self.noticed.set)

    def calm(self) -> None:
        """Wait until nothing comes any more of what was done before."""
        while True:
            self.noticed.clear()
            if not self.noticed.wait(0.3):
                return


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    yield watched
    watched.watch.close()


def in_place(file: Path) -> None:
    with file.open("a") as stream:
        stream.write("# more\n")


def by_rename(file: Path) -> None:
    fresh = file.with_name(".web.yaml.new")
    fresh.write_text("vm: web\n# renamed\n")
    fresh.replace(file)


def by_backup(file: Path) -> None:
    """As vim does with 'backupcopy=no': the old file is moved away, a new one is written."""
    file.rename(file.with_name("web.yaml~"))
    file.write_text("vm: web\n# anew\n")
    file.with_name("web.yaml~").unlink()


def by_moving_in(file: Path) -> None:
    elsewhere = file.parent.parent / "elsewhere.yaml"
    elsewhere.write_text("vm: web\n# moved\n")
    shutil.move(elsewhere, file)


def by_truncating(file: Path) -> None:
    os.truncate(file, 0)


@pytest.mark.parametrize(
    "edit", [in_place, by_rename, by_backup, by_moving_in, by_truncating, Path.unlink]
)
def test_an_edit_is_noticed(watched: Watched, edit: Callable[[Path], None]) -> None:
    watched.watch.refresh(watched.folder, [])
    watched.calm()
    edit(watched.file)
    assert watched.noticed.wait(SECONDS)


def test_reading_is_not_noticed(watched: Watched) -> None:
    watched.watch.refresh(watched.folder, [])
    watched.calm()
    for _ in range(3):
        watched.file.read_text()
        list(watched.folder.iterdir())
    assert not watched.noticed.wait(1.0)


def test_a_swapped_link_is_noticed_and_what_lies_behind_it_from_then_on(tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    for name in ("one", "two"):
        (releases / name).mkdir(parents=True)
    link = tmp_path / "etc" / "vms.d"
    link.parent.mkdir()
    link.symlink_to(releases / "one")
    noticed = Event()
    watch = FolderWatch(noticed.set)
    try:
        watch.refresh(link, [])
        time.sleep(0.3)
        noticed.clear()
        fresh = link.with_name("next")
        fresh.symlink_to(releases / "two")
        fresh.replace(link)
        assert noticed.wait(SECONDS)
        watch.refresh(link, [])
        time.sleep(0.5)
        noticed.clear()
        (releases / "two" / "web.yaml").write_text("vm: web\n")
        assert noticed.wait(SECONDS)
    finally:
        watch.close()


def test_a_folder_that_is_replaced_by_another_one_is_watched_again(watched: Watched) -> None:
    watched.watch.refresh(watched.folder, [])
    watched.folder.rename(watched.folder.with_name("old.d"))
    watched.folder.mkdir()
    watched.watch.refresh(watched.folder, [])
    watched.calm()
    watched.file.write_text("vm: web\n")
    assert watched.noticed.wait(SECONDS)


def test_a_folder_that_was_removed_and_made_again_is_watched_again(watched: Watched) -> None:
    watched.watch.refresh(watched.folder, [])
    watched.calm()
    shutil.rmtree(watched.folder)
    watched.folder.mkdir()
    assert watched.noticed.wait(SECONDS)
    watched.calm()
    watched.watch.refresh(watched.folder, [])
    watched.calm()
    watched.file.write_text("vm: web\n")
    assert watched.noticed.wait(SECONDS)


def test_a_folder_that_is_not_there_yet_is_noticed_when_it_comes(tmp_path: Path) -> None:
    noticed = Event()
    folder = tmp_path / "vms.d"
    watch = FolderWatch(noticed.set)
    try:
        watch.refresh(folder, [])
        noticed.clear()
        folder.mkdir()
        assert noticed.wait(SECONDS)
    finally:
        watch.close()


def test_nothing_is_watched_in_the_home_of_a_vm_and_that_is_said_once(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    homes = [str(watched.folder.parent)]
    watched.watch.refresh(watched.folder, homes)
    watched.watch.refresh(watched.folder, homes)
    in_place(watched.file)
    assert not watched.noticed.wait(1.0)
    assert caplog.text.count(f"{watched.folder} is not watched") == 1
