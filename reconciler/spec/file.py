"""The bytes of an operator's file, if it can be trusted: for VM documents and for the host's settings alike."""

import os
import stat
from pathlib import Path

from reconciler.spec.text import LARGEST_FILE


def trusted_bytes(path: Path) -> bytes | tuple[str, str]:
    """Read the file, or say what is wrong with it and what to do."""
    try:
        # Not blocking, because opening a named pipe would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                return "this is not a regular file", "remove it, or give it another ending"
            if mode & stat.S_IWOTH:
                return "everybody may write to this file", "take that right away with chmod o-w"
            return stream.read(LARGEST_FILE + 1)
    except IsADirectoryError:
        return "this is not a regular file", "remove it, or give it another ending"
    except FileNotFoundError:
        return "the file is not there: a link to nowhere?", "remove it, or put the file back"
    except OSError as error:
        return f"the file cannot be read: {reason(error)}", "make it readable, or remove it"


def reason(error: OSError | ValueError) -> str:
    """Say what the system said, to end a sentence."""
    return (getattr(error, "strerror", None) or str(error)).lower()
