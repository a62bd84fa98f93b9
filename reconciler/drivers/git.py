"""Another's git repository, read through a bare copy of ours with the ``git`` program. Processes are ``command``'s.

Nothing of the host's git settings counts, no hook runs, nobody is asked anything, and only the protocols of
``PROTOCOLS`` are spoken. What is in a commit is read object by object and never checked out by git: neither links,
submodules, filters nor attributes have any effect. What to fetch and whom to trust is the business of ``source``.
"""

import os
import pwd
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from reconciler.drivers.command import Completed, run
from reconciler.errors import CkptreeError, CommandFailed

PROTOCOLS = ("file", "git", "http", "https", "ssh")

_ASKING = 60.0  # seconds to ask a repository for its branches
_FETCHING = 300.0  # seconds, also for the first time
_READING = 60.0  # seconds for whatever only reads the copy
_VERIFYING = 300.0  # seconds for the signatures of all new commits
_AT_ONCE = 8 << 20  # bytes of files that are read with one process
_SHA256 = 64  # digits of the hash of a commit in the newer format
_TIP = "refs/ckptree/tip"
_REMOTE = "source"
_PASSWORD = re.compile(r"://[^/@\s]*@")
_LONGEST_WORDS = 500  # characters of git's own words in a message
_NOTHING = "/dev/null"
_UNFINISHED = ("pack/tmp_*", "pack/.tmp-*", "??/tmp_obj_*")
_GPG_KEY = re.compile(r"[0-9A-F]{40,64}")

_OPTIONS = (
    "-c", f"core.hooksPath={_NOTHING}",
    "-c", "fetch.fsckObjects=true",
    "-c", "gc.autoDetach=false",
    "-c", "http.lowSpeedLimit=1",
    "-c", "http.lowSpeedTime=30",
    "-c", "submodule.recurse=false",
    "-c", "log.showSignature=false",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signature:
    """What became of checking the signature of COMMIT: a letter as git-log(1) has it for %G?, and the KEY."""

    commit: str
    letter: str
    key: str

    @property
    def by_ssh(self) -> bool:
        """Whether it is right, and by a key that the file of allowed signers allows."""
        return self.letter == "G" and self.key.startswith("SHA256:")

    @property
    def by_gpg(self) -> bool:
        """Whether it is right, and by a key of the GnuPG home, which has only those that are to be trusted."""
        return self.letter in {"G", "U"} and bool(_GPG_KEY.fullmatch(self.key))


@dataclass(frozen=True, slots=True)
class Entry:
    """A NAME in a folder of a commit. REGULAR is false for links, submodules and folders; SIZE is in bytes."""

    name: str
    object: str
    regular: bool
    size: int


class Unreachable(CkptreeError):
    """The repository did not answer, or not with what is needed."""


class Git:
    """The copy at FOLDER of the repository at URL; CONFIG is a file of ours, which keeps the URL out of arguments."""

    def __init__(self, url: str, folder: Path, config: Path) -> None:
        self._url = url
        self._folder = folder
        self._config = config

    def tidy(self) -> None:
        """Take away what a git that was cut off has left; only for the one who is allowed to fetch."""
        now = time.time()
        for lock in (*self._folder.rglob("*.lock"), self._folder / "gc.pid"):
            with suppress(OSError):
                if not 0 <= now - lock.lstat().st_mtime <= _FETCHING:
                    lock.unlink()
        for pattern in _UNFINISHED:
            for file in self._folder.glob(f"objects/{pattern}"):
                with suppress(OSError):
                    file.unlink()

    def heads(self) -> dict[str, str]:
        """Ask the repository for its branches and their tips; raises Unreachable."""
        self._write_config()
        options = ("ls-remote", "--heads", "--quiet", _REMOTE)
        try:
            done = self._run(options, _ASKING)
        except CommandFailed as error:
            raise Unreachable(words_of(error)) from error
        pairs = (line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
        return {name.removeprefix("refs/heads/"): tip for tip, name in pairs}

    def fetch(self, branch: str, tip: str) -> str:
        """Fetch BRANCH, whose tip was TIP, with all of its history; gives its tip now. Raises Unreachable."""
        self._prepare(tip)
        options = (
            "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--force",
            _REMOTE, f"refs/heads/{branch}:{_TIP}",
        )  # fmt: skip
        try:
            self._own(options, _FETCHING)
        except CommandFailed as error:
            raise Unreachable(words_of(error)) from error
        return self._own(("rev-parse", "--verify", _TIP), _READING).stdout.strip()

    def has(self, commit: str) -> bool:
        """Tell whether the copy has COMMIT."""
        if not self._folder.is_dir():
            return False
        options = ("cat-file", "-e", f"{commit}^{{commit}}")
        return self._own(options, _READING, codes=(0, 1, 128)).code == 0

    def commit(self, name: str) -> str | None:
        """Find the commit that NAME stands for: a branch, a tag, a hash; none if there is no such."""
        options = ("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
        return self._own(options, _READING, codes=(0, 1, 128)).stdout.strip() or None

    def merged(self, ours: str, theirs: str) -> str:
        """Merge commit THEIRS into OURS, in no branch and no work tree; gives the tree that comes of it.

        Raises CkptreeError with the end of a sentence where that needs a person. Needs git 2.38.
        """
        options = ("merge-tree", "--write-tree", "--name-only", "--no-messages", ours, theirs)
        try:
            done = self._own(options, _READING, codes=(0, 1))
        except CommandFailed as error:
            raise CkptreeError(words_of(error)) from error
        tree, *conflicts = done.stdout.splitlines()
        if done.code:
            raise CkptreeError(f"both have changed {', '.join(conflicts[:3])}")
        return tree

    def keep(self, name: str, commit: str) -> None:
        """Keep COMMIT and what led to it under NAME, whatever becomes of the branch."""
        self._own(("update-ref", f"refs/ckptree/{name}", commit), _READING)

    def descends(self, commit: str, ancestor: str) -> bool:
        """Tell whether ANCESTOR is COMMIT, or one that led to it."""
        options = ("merge-base", "--is-ancestor", ancestor, commit)
        return self._own(options, _READING, codes=(0, 1)).code == 0

    def commits(self, tip: str, since: str | None) -> tuple[str, ...]:
        """List TIP and all that led to it and not to SINCE (to all for none), the oldest first."""
        not_since = () if since is None else (f"^{since}",)
        text = self._own(("rev-list", "--reverse", tip, *not_since), _READING).stdout
        return tuple(text.split()) or (tip,)

    def signatures(
        self, commits: Sequence[str], ssh: Path | None, gpg: Path | None
    ) -> tuple[Signature, ...]:
        """Check the signatures of COMMITS.

        SSH is a file of allowed signers, GPG a home of GnuPG; without one, no signature of that kind is right. Raises
        CommandFailed if that takes too long.
        """
        # A program that does not read what git gives it would end git: nobody is allowed by empty lists of keys.
        home = gpg or self._folder.parent / "no-keys"
        if gpg is None:
            home.mkdir(mode=0o700, exist_ok=True)
        programs = {
            "gpg.program": "gpg",
            "gpg.ssh.program": "ssh-keygen",
            "gpg.ssh.allowedSignersFile": str(ssh or _NOTHING),
            "gpg.x509.program": "gpg",
            "gpg.minTrustLevel": "undefined",
        }
        options = [word for key, value in programs.items() for word in ("-c", f"{key}={value}")]
        form = ("log", "--no-walk=unsorted", "--stdin", "--format=%H %G? %GF")
        names = "".join(f"{commit}\n" for commit in commits)
        environment = {"GNUPGHOME": str(home)}
        text = self._own((*options, *form), _VERIFYING, environment, names=names).stdout
        return tuple(Signature(*line.split(" ", 2)) for line in text.splitlines())

    def entries(self, commit: str, folder: str) -> tuple[Entry, ...] | None:
        """List FOLDER (the top one if empty) in COMMIT; none if there is no such folder, one entry if it is a file."""
        place = f"{commit}:{folder}"
        kind = self._own(("cat-file", "-t", place), _READING, codes=(0, 128)).stdout.strip()
        if kind == "tree":
            text = self._own(("ls-tree", "-l", "-z", "--full-tree", place), _READING).stdout
        elif kind == "blob":
            options = ("ls-tree", "-l", "-z", "--full-tree", commit, "--", folder)
            text = self._own(("--literal-pathspecs", *options), _READING).stdout
        else:
            return None
        return tuple(_entry(line) for line in text.split("\0") if line)

    def contents(self, entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """Read the bytes of ENTRIES, which must be regular."""
        waiting: list[Entry] = []
        for entry in entries:
            if waiting and sum(one.size for one in waiting) + entry.size > _AT_ONCE:
                yield from self._read(waiting)
                waiting = []
            waiting.append(entry)
        yield from self._read(waiting)

    def _read(self, entries: list[Entry]) -> Iterator[tuple[Entry, bytes]]:
        if not entries:
            return
        names = "".join(f"{entry.object}\n" for entry in entries)
        text = self._own(("cat-file", "--batch"), _READING, names=names).stdout
        data = text.encode("utf-8", "surrogateescape")
        for entry in entries:
            _, _, data = data.partition(b"\n")  # "HASH blob SIZE"
            yield entry, data[: entry.size]
            data = data[entry.size + 1 :]

    def _prepare(self, tip: str) -> None:
        """Make the copy; one that git cannot read any more is made anew."""
        if self._folder.exists():
            if self._own(("rev-parse", "--git-dir"), _READING, codes=(0, 128)).code == 0:
                return
            shutil.rmtree(self._folder)
        form = "sha256" if len(tip) == _SHA256 else "sha1"
        options = ("init", "--quiet", "--bare", "--template=", f"--object-format={form}")
        self._run((*options, str(self._folder)), _READING)

    def _write_config(self) -> None:
        """Write the address down where neither a list of processes nor a log shows the password in it."""
        quoted = self._url.replace("\\", "\\\\").replace('"', '\\"')
        text = f'[remote "{_REMOTE}"]\n\turl = "{quoted}"\n'
        if self._url.startswith(("/", "file:")):
            # The operator has named it, so it may belong to another user of this host.
            text += "[safe]\n\tdirectory = *\n"
        descriptor = os.open(self._config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)

    def _own(
        self,
        options: Iterable[str],
        seconds: float,
        environment: dict[str, str] | None = None,
        codes: tuple[int, ...] = (0,),
        names: str | None = None,
    ) -> Completed:
        words = ("--git-dir", str(self._folder), *options)
        return self._run(words, seconds, environment, codes, names)

    def _run(
        self,
        options: Iterable[str],
        seconds: float,
        environment: dict[str, str] | None = None,
        codes: tuple[int, ...] = (0,),
        names: str | None = None,
    ) -> Completed:
        return run(
            ("git", *_OPTIONS, *options),
            timeout=seconds,
            input=names,
            cwd=str(self._config.parent),
            codes=codes,
            shares=False,
            environment={**_environment(self._config), **(environment or {})},
        )


def words_of(error: CommandFailed) -> str:
    """Give what git said, as the end of a sentence and without passwords."""
    if error.code is None:
        return "it did not answer in time"
    lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
    said = [line for line in lines if line.startswith(("fatal: ", "error: "))] or lines[-1:]
    text = "; ".join(line.removeprefix("fatal: ").removeprefix("error: ") for line in said)
    return without_password(text)[:_LONGEST_WORDS] or f"git ended with exit code {error.code}"


def without_password(url: str) -> str:
    """Leave the user and the password out of URL."""
    return _PASSWORD.sub("://", url)


def _entry(line: str) -> Entry:
    facts, _, name = line.partition("\t")
    mode, kind, object_name, size = facts.split()
    regular = kind == "blob" and mode.startswith("100")
    return Entry(name, object_name, regular, int(size) if size.isdecimal() else 0)


def _environment(config: Path) -> dict[str, str]:
    return {
        "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(config),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=20",
        "GIT_TERMINAL_PROMPT": "0",
        "HOME": _home(),  # for ~/.netrc, in which curl looks for passwords
    }


def _home() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"
