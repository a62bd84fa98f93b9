"""Whether what the operator names can be trusted: nobody else may be able to put another one in its place."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path


def why_not_trusted(program: str) -> str:
    """Say why PROGRAM may not be run for the operator, and what to do; empty if it may."""
    if not program.startswith("/"):
        return "its path is not absolute (write it from / on)"
    try:
        real = Path(program).resolve(strict=True)
        if not stat.S_ISREG(real.stat().st_mode) or not os.access(real, os.X_OK):
            return "it is not a program (make it executable with chmod +x)"
        return why_not_safe(Path(program))
    except OSError as error:
        return f"{error.strerror} (name a program that exists)"
    except (RuntimeError, ValueError):  # links in a circle, a path that no file can have
        return "there is no such file (name a program that exists)"


def why_not_safe(path: Path) -> str:
    """Say who else may change what is at PATH, or put another one there, and what to do; empty if nobody may.

    What is there once links are followed, the folder that it is in, and every link on the way with its folder must be
    root's or that of whoever runs this, and not everybody may write to them (but to a folder around it with the sticky
    bit, where nobody can replace another's file). Raises OSError or RuntimeError if nothing is there.
    """
    real = path.resolve(strict=True)
    for place in (real, real.parent, *_links(path)):
        facts = place.lstat()
        if facts.st_uid not in {0, os.geteuid()}:
            return f"{place} belongs to another user (give it to root with chown)"
        # A link has no rights of its own.
        spared = stat.S_ISLNK(facts.st_mode) or (place != real and facts.st_mode & stat.S_ISVTX)
        if facts.st_mode & stat.S_IWOTH and not spared:
            return f"everybody may write to {place} (take that right away with chmod o-w)"
    return ""


def _links(path: Path) -> Iterator[Path]:
    """Give the links on the way to what is at PATH, each with the folder that it is in."""
    for part in (path, *path.parents):
        if part.is_symlink():
            folder = part.parent.resolve()
            yield from (folder / part.name, folder)
            yield from _links(folder / part.readlink())
