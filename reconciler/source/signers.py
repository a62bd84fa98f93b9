"""Whether commits are signed by those whose signatures count, and what to say of one that is not."""

import hashlib
import stat
from collections.abc import Sequence
from pathlib import Path
from shutil import which

from reconciler.drivers import command
from reconciler.drivers.git import Git, Signature, words_of
from reconciler.drivers.trust import why_not_safe
from reconciler.errors import CkptreeError, CommandFailed
from reconciler.spec.settings import Signers

_SHOWN = 3  # commits that are named one by one
_GPG_FILES = ("pubring.kbx", "pubring.gpg", "trustdb.gpg", "public-keys.d/pubring.db")
_UNCHECKED = "the signatures of the commits cannot be checked"

_WRONG = {
    "B": "has a signature that does not fit it",
    "E": "has a signature that cannot be checked, as its key is not known here",
    "X": "has a signature that has expired",
    "Y": "is signed with a key that has expired",
    "R": "is signed with a key that was revoked",
}


def unsigned(git: Git, commits: Sequence[str], signers: Signers, state: Path) -> str:
    """Say which of COMMITS are not signed by one of SIGNERS, and why that is; empty if all are.

    STATE has the repository's own files. Raises CkptreeError for what is no fault of the commits: the signers cannot
    be trusted, or the signatures cannot be checked.
    """
    doubt = _doubt(signers, state)
    if doubt:
        raise CkptreeError(doubt)
    try:
        checked = git.signatures(commits, signers.ssh, signers.gpg)
    except CommandFailed as error:
        raise CkptreeError(f"{_UNCHECKED}: {words_of(error)}") from error
    found = {signature.commit: signature for signature in checked}
    wrong = []
    for commit in commits:
        signature = found.get(commit, Signature(commit, "N", ""))
        if not (signers.ssh and signature.by_ssh) and not (signers.gpg and signature.by_gpg):
            wrong.append(f"commit {commit[:12]} {_words(signature, signers)}")
    if wrong:
        _need_programs(signers)
    more = f", and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return "; ".join(wrong[:_SHOWN]) + more


def fingerprint(signers: Signers | None) -> str:
    """Tell in a short text who the SIGNERS are now: with another one, a verdict has to be found anew."""
    if signers is None:
        return "anybody"
    digest = hashlib.sha256(repr(signers).encode())
    files = [signers.ssh] if signers.ssh else []
    files += [signers.gpg / name for name in _GPG_FILES] if signers.gpg else []
    for file in files:
        try:
            digest.update(file.read_bytes())
        except OSError as error:
            digest.update(str(error.errno).encode())
    return digest.hexdigest()


def _need_programs(signers: Signers) -> None:
    """Raise CkptreeError where git had no program for a kind of SIGNERS, as it then says that a signature is wrong."""
    for place, program in ((signers.ssh, "ssh-keygen"), (signers.gpg, "gpg")):
        if place is not None and which(program, path=":".join(command.TRUSTED)) is None:
            raise CkptreeError(f"{_UNCHECKED}: there is no program {program} (install it)")


def _doubt(signers: Signers, state: Path) -> str:
    """Say why SIGNERS cannot be trusted, and what to do; empty if they can. STATE has the repository's own files."""
    for place, wanted in ((signers.ssh, stat.S_ISREG), (signers.gpg, stat.S_ISDIR)):
        if place is None:
            continue
        try:
            real = place.resolve(strict=True)
            mode = real.stat().st_mode
            danger = why_not_safe(place)
        except (OSError, RuntimeError):
            return (
                f"{place}, which names the signers, is not there (create it, or name another one)"
            )
        if not wanted(mode):
            what = "file" if place is signers.ssh else "folder"
            return f"{place}, which names the signers, is not a {what}"
        if danger:
            return f"{place}, which names the signers, cannot be trusted: {danger}"
        if real.is_relative_to(state.resolve()):
            return f"{place}, which names the signers, lies where the repository's own files are (move it away)"
    return ""


def _words(signature: Signature, signers: Signers) -> str:
    by_ssh = signature.key.startswith("SHA256:")
    if signers.ssh is None and (by_ssh or signature.letter == "N"):
        return "is not signed with GPG"
    if signers.gpg is None and signature.letter in {"N", "E"}:
        return "is not signed with SSH"
    if signature.letter == "N":
        return "is not signed"
    if by_ssh:
        return f"is signed with {signature.key}, which {signers.ssh} does not allow"
    return _WRONG.get(signature.letter, "has no signature that counts")
