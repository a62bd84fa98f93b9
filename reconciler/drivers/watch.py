"""Watch where the documents are, so that an edit is seen at once. An event says "look again" and nothing more.

Editors write by renaming, links are swapped, kqueue tells of a deletion only that the folder changed: so whole
folders are watched, never files and never what lies below, and what an event says of itself is not believed. What no
event tells of is found by the periodic look. Nothing is ever watched inside a VM's home: kqueue opens every file in a
watched folder, and an open file keeps ``zfs unmount`` and ``zfs destroy`` from their work.
"""

import logging
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver, ObservedWatch

_TELLING = frozenset({"created", "modified", "moved", "deleted", "closed"})
"""The events that tell of a change; that we read a file is an event, too."""
_PATIENCE = 5.0  # seconds for the observer's threads to end

_log = logging.getLogger(__name__)
_Identity = tuple[str, int, int]


class FolderWatch:
    """Calls CHANGED, on a thread of its own, after anything may have changed where documents are."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._observer: BaseObserver | None = None
        self._watched: dict[_Identity, ObservedWatch] = {}
        self._gone: set[_Identity] = set()
        self._refused: set[str] = set()

    def refresh(self, path: Path, homes: Collection[str]) -> None:
        """Watch the folders that are to be watched now for PATH, a folder or a file of documents, but none in HOMES.

        To be called before each reading of the documents: links and folders may have been swapped since.
        """
        wanted = {
            identity: folder for folder, identity in _folders(path) if self._is_free(folder, homes)
        }
        if self._observer is not None and not self._observer.is_alive():
            self._observer = None
            self._watched.clear()
        gone = set(self._gone)
        self._gone.difference_update(gone)
        for identity in self._watched.keys() & (self._watched.keys() - wanted.keys() | gone):
            self._unwatch(identity)
        for identity in wanted.keys() - self._watched.keys():
            self._watch(identity, wanted[identity])

    def close(self) -> None:
        """Watch nothing any more."""
        observer, self._observer = self._observer, None
        self._watched.clear()
        if observer is not None:
            observer.stop()
            observer.join(_PATIENCE)

    def _is_free(self, folder: Path, homes: Collection[str]) -> bool:
        for home in homes:
            if folder.is_relative_to(home):
                self._refuse(folder, f"it lies in the home {home} of a VM")
                return False
        return True

    def _watch(self, identity: _Identity, folder: Path) -> None:
        from watchdog.events import FileSystemEventHandler
        from watchdog.observers import Observer

        changed, gone = self._changed, self._gone

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: "FileSystemEvent") -> None:
                if event.event_type in {"deleted", "moved"} and event.src_path == str(folder):
                    gone.add(identity)  # another one in its place may have its very number
                if event.event_type in _TELLING:
                    changed()

        try:
            if self._observer is None:
                self._observer = Observer()
                self._observer.start()
            self._watched[identity] = self._observer.schedule(Handler(), str(folder))
        except OSError as error:  # no such folder any more, or too many watches on this host
            self._refuse(folder, error.strerror or str(error))

    def _unwatch(self, identity: _Identity) -> None:
        watch = self._watched.pop(identity)
        if self._observer is not None:
            with suppress(KeyError, OSError):  # it went away with its folder
                self._observer.unschedule(watch)

    def _refuse(self, folder: Path, why: str) -> None:
        if str(folder) not in self._refused:
            self._refused.add(str(folder))
            _log.warning("%s is not watched: %s (edits there are seen by the periodic look)", folder, why)  # fmt: skip


def _folders(path: Path) -> Iterator[tuple[Path, _Identity]]:
    """Give the folder of the documents, those in which a link on the way to it may be swapped, and its own."""
    path = Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would follow the links that matter here
    real = Path(os.path.realpath(path))
    links = [part for part in (path, *path.parents) if part.is_symlink()]
    found = [path.parent, *(link.parent for link in links)]
    if real.is_dir():
        found.append(real)
        with suppress(OSError):
            found += [Path(os.path.realpath(link)).parent for link in real.iterdir() if link.is_symlink()]  # fmt: skip
    else:
        found.append(real.parent)
    for folder in dict.fromkeys(Path(os.path.realpath(each)) for each in found):
        with suppress(OSError):
            status = folder.stat()
            if folder.is_dir():
                yield folder, (str(folder), status.st_dev, status.st_ino)
