"""The documents of a commit laid out beside those in force, and put in force by one rename of a link.

Only documents are laid out: the files of one folder by the names that ``spec.load`` reads. Something else under such
a name (a link, a submodule, too large a file) becomes what makes its reading fail, so that it is told and its VM stays
as it is.
"""

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from reconciler.drivers.git import Entry, Git
from reconciler.drivers.storage import sync_directory
from reconciler.spec.load import SUFFIXES
from reconciler.spec.text import LARGEST_FILE

_KEPT = 3  # releases, that in force included: who reads one now must be able to finish
_MOST_DOCUMENTS = 10_000


class Releases:
    """The releases of the documents at PATH of a repository, below STATE."""

    def __init__(self, state: Path, path: str) -> None:
        self._folder = state / "releases"
        # A folder of its own, as it is watched: what else is written into STATE is to wake nobody.
        self._link = state / "in-force" / "current"
        self._path = path

    @property
    def path(self) -> Path | None:
        """Where the documents in force are; the same for every release. None if there are none yet."""
        return None if self.revision is None else self._link / self._path

    @property
    def revision(self) -> str | None:
        """The commit whose documents are in force; none if there are none."""
        try:
            target = self._link.readlink()
        except OSError:
            return None
        commit = target.name.partition("-")[0]
        # With another 'path' in the settings, what is in force is not what they mean.
        return commit if target == self._target(commit) and self._link.exists() else None

    def in_force(self, commit: str) -> bool:
        """Whether the documents of COMMIT are in force."""
        try:
            return self._link.readlink() == self._target(commit) and self.laid_out(commit)
        except OSError:
            return False

    def laid_out(self, commit: str) -> bool:
        """Whether the documents of COMMIT are laid out, so that they can be put in force."""
        return (self._folder / self._target(commit).name).is_dir()

    def lay_out(self, git: Git, commit: str) -> str:
        """Lay out the documents of COMMIT; says why that is not possible, or nothing. Raises OSError, CommandFailed."""
        entries = git.entries(commit, self._path)
        where = f"the folder '{self._path}'" if self._path else "its top folder"
        if entries is None:
            return f"there is no '{self._path}' in it (put the documents there, or change 'path')"
        documents = [entry for entry in entries if _document(entry.name)]
        if not documents:
            return f"there is no document (*.yaml) in {where} (put one there, or change 'path')"
        if len(documents) > _MOST_DOCUMENTS:
            return f"there are more than {_MOST_DOCUMENTS} documents in {where}"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._folder / f".new-{os.getpid()}"
        shutil.rmtree(beside, ignore_errors=True)
        try:
            place = beside / self._path
            # A single document has its own name in its entry, and its folder in PATH.
            single = len(entries) == 1 and entries[0].name == self._path
            if single:
                place = place.parent
            place.mkdir(mode=0o700, parents=True)
            _write(git, documents, lambda name: place / PurePosixPath(name).name)
            final = self._folder / self._target(commit).name
            shutil.rmtree(final, ignore_errors=True)
            beside.rename(final)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return ""

    def switch(self, commit: str) -> None:
        """Put the documents of COMMIT, which were laid out, in force, and take old ones away; raises OSError."""
        self._link.parent.mkdir(mode=0o700, exist_ok=True)
        beside = self._link.with_name(f".current-{os.getpid()}")
        with suppress(FileNotFoundError):
            beside.unlink()
        beside.symlink_to(self._target(commit))
        beside.replace(self._link)
        sync_directory(self._link.parent)
        self._prune()

    def _target(self, commit: str) -> Path:
        other = f"-{hashlib.sha256(self._path.encode()).hexdigest()[:8]}" if self._path else ""
        return Path("..", "releases", f"{commit}{other}")

    def _prune(self) -> None:
        with suppress(OSError):
            kept = self._folder / self._link.readlink().name
            others = [one for one in self._folder.iterdir() if one != kept]
            others.sort(key=lambda one: one.lstat().st_mtime_ns, reverse=True)
            for old in others[_KEPT - 1 :]:
                shutil.rmtree(old, ignore_errors=True)


def _document(name: str) -> bool:
    leaf = PurePosixPath(name).name
    return leaf.endswith(SUFFIXES) and not leaf.startswith((".", "#"))


def _write(git: Git, documents: list[Entry], place: Callable[[str], Path]) -> None:
    fit = [entry for entry in documents if entry.regular and entry.size <= LARGEST_FILE]
    for entry in documents:
        if not entry.regular:
            place(entry.name).mkdir()
        elif entry.size > LARGEST_FILE:
            with place(entry.name).open("xb") as stream:
                stream.truncate(LARGEST_FILE + 1)
    for entry, data in git.contents(fit):
        with place(entry.name).open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
