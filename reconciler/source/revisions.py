"""The documents of two revisions of a repository that lies here, for whoever wants to know what a merge would do.

Reads objects only: no work tree is looked at, nothing is fetched, no branch moves. What the host does with a repository
is the business of the other modules here; neighbours: ``drivers.git`` reads, ``spec.load`` makes VMs of the bytes.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from reconciler.drivers.git import Git
from reconciler.errors import CkptreeError, CommandFailed
from reconciler.spec.load import SUFFIXES
from reconciler.spec.text import LARGEST_FILE

Documents = Mapping[str, bytes | tuple[str, str]]
"""The bytes of documents by their names in the repository, or what is wrong with one and what to do."""

_NO_SETTINGS = Path(os.devnull)


@dataclass(frozen=True, slots=True)
class Change:
    """The commits BASE and HEAD, and the documents BEFORE (those of BASE) and AFTER HEAD is merged into it."""

    base: str
    head: str
    before: Documents
    after: Documents


def split_range(text: str) -> tuple[str, str]:
    """Take ``REV1..REV2`` apart, either being HEAD where it is left out; raises CkptreeError."""
    base, dots, head = text.partition("..")
    if not dots or head.startswith(".") or ".." in head or base.startswith("-"):
        raise CkptreeError(
            f"{text!r} is not a range of revisions (write REV1..REV2, as main..HEAD)"
        )
    return base or "HEAD", head or "HEAD"


def read_change(repository: Path, base: str, head: str, folder: str) -> Change:
    """Read the documents in FOLDER (the top one if empty) of REPOSITORY before and after HEAD is merged into BASE.

    Where HEAD does not have all of BASE, they are merged in memory, as the merge request will be. Raises CkptreeError.
    """
    git = Git("", _git_folder(repository), _NO_SETTINGS)
    try:
        ours, theirs = (_commit(git, name, repository) for name in (base, head))
        merged = theirs if git.descends(theirs, ours) else _merged(git, base, head, ours, theirs)
        folder = _within(folder)
        before, after = _documents(git, ours, folder), _documents(git, merged, folder)
    except CommandFailed as error:
        raise CkptreeError(f"{repository}: {error}") from error
    if before is None and after is None:
        where = f"there is no folder {folder!r} in {base} and {head}"
        raise CkptreeError(f"{repository}: {where} (name the folder of the documents with --path)")
    return Change(ours, theirs, before or {}, after or {})


def _git_folder(repository: Path) -> Path:
    """Find git's own folder for REPOSITORY, from there upwards, without asking git, which trusts only its owner."""
    here = repository.absolute()
    for place in (here, *here.parents):
        inside = place / ".git"
        try:
            if inside.is_dir():
                return inside
            if inside.is_file():
                return place / inside.read_text().removeprefix("gitdir:").strip()
            if (place / "HEAD").is_file() and (place / "objects").is_dir():
                return place
        except (OSError, UnicodeDecodeError) as error:
            raise CkptreeError(f"{inside} cannot be read (make it readable)") from error
    raise CkptreeError(f"{repository} is not in a git repository (name one with --repository)")


def _commit(git: Git, name: str, repository: Path) -> str:
    found = git.commit(name)
    if found is None:
        raise CkptreeError(f"{repository} has no revision {name!r} (fetch it, or name another one)")
    return found


def _merged(git: Git, base: str, head: str, ours: str, theirs: str) -> str:
    try:
        return git.merged(ours, theirs)
    except CkptreeError as error:
        raise CkptreeError(
            f"{head} cannot be merged into {base}: {error} (rebase it; a shallow clone needs the history of both)"
        ) from error


def _within(folder: str) -> str:
    parts = [part for part in folder.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise CkptreeError(f"{folder!r} leads out of the repository (write it without '..')")
    return "/".join(parts)


def _documents(git: Git, tree: str, folder: str) -> Documents | None:
    entries = git.entries(tree, folder)
    if entries is None:
        return None
    single = len(entries) == 1 and entries[0].name == folder
    found: dict[str, bytes | tuple[str, str]] = {}
    fit = []
    for entry in entries:
        leaf = PurePosixPath(entry.name).name
        if not leaf.endswith(SUFFIXES) or leaf.startswith((".", "#")):
            continue
        found[_name(folder, entry.name, single=single)] = (
            "this is not a regular file",
            "remove it, or give it another ending",
        )
        if entry.regular and entry.size <= LARGEST_FILE:
            fit.append(entry)
        elif entry.regular:
            found[_name(folder, entry.name, single=single)] = (
                "the file is larger than 1 MiB",
                "write one file for each VM, and less text",
            )
    for entry, data in git.contents(fit):
        found[_name(folder, entry.name, single=single)] = data
    return found


def _name(folder: str, name: str, *, single: bool) -> str:
    text = name if single or not folder else f"{folder}/{name}"
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
