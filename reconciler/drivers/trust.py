"""Whether a program that the operator names may be run: nobody else may be able to put another one in its place."""

import os
import stat
from pathlib import Path


def why_not_trusted(program: str) -> str:
    """Say why PROGRAM may not be run for the operator, and what to do; empty if it may.

    What runs, once links are followed, and the folder that it is in must be root's or that of whoever runs this, and
    not everybody may write to them (but to a folder with the sticky bit, where nobody can replace another's file).
    """
    if not program.startswith("/"):
        return "its path is not absolute (write it from / on)"
    try:
        real = Path(program).resolve(strict=True)
        status, folder = real.stat(), real.parent.stat()
    except OSError as error:
        return f"{error.strerror} (name a program that exists)"
    except (RuntimeError, ValueError):  # links in a circle, a path that no file can have
        return "there is no such file (name a program that exists)"
    if not stat.S_ISREG(status.st_mode) or not os.access(real, os.X_OK):
        return "it is not a program (make it executable with chmod +x)"
    for place, facts in ((real, status), (real.parent, folder)):
        if facts.st_uid not in {0, os.geteuid()}:
            return f"{place} belongs to another user (give it to root with chown)"
        sticky = stat.S_ISDIR(facts.st_mode) and facts.st_mode & stat.S_ISVTX
        if facts.st_mode & stat.S_IWOTH and not sticky:
            return f"everybody may write to {place} (take that right away with chmod o-w)"
    return ""
