"""Git repositories as operators have them, with keys to sign with; real git, ssh-keygen and gpg."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = """\
vm: {name}
dataset: tank/vm/{name}
disks: [disk0.img]
checkpoints:
  base:
"""


def document(name: str, more: str = "") -> str:
    """The document of a VM."""
    return DOCUMENT.format(name=name) + more


@dataclass(frozen=True, slots=True)
class Key:
    """What one person signs with: the settings of git for it, and the variables."""

    settings: tuple[str, ...]
    environment: Mapping[str, str]


NO_KEY = Key((), {})


class SshKey:
    """An SSH key in FOLDER, and the file of allowed signers that has only it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / name
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.file))
        self.signers = folder / f"{name}.signers"
        public = self.file.with_suffix(".pub").read_text()
        self.line = f'{name}@example.org namespaces="git" {public}'
        self.signers.write_text(self.line)
        self.key = Key(("gpg.format=ssh", f"user.signingKey={self.file}"), {})


class GpgKey:
    """A GPG key, and a GnuPG home with only its public half."""

    def __init__(self, folder: Path) -> None:
        self._secret, self.public = folder / "secret", folder / "public"
        for home in (self._secret, self.public):
            home.mkdir(mode=0o700)
        secret = ("gpg", "--homedir", str(self._secret), "--batch", "--quiet")
        person = "Ops <ops@example.org>"
        _run(*secret, "--passphrase", "", "--quick-gen-key", person, "ed25519", "sign", "never")
        data = _run(*secret, "--export").stdout
        _run("gpg", "--homedir", str(self.public), "--batch", "--quiet", "--import", data=data)
        self.key = Key(("user.signingKey=ops@example.org",), {"GNUPGHOME": str(self._secret)})

    def close(self) -> None:
        """End the agents that were started for it."""
        for home in (self._secret, self.public):
            _run("gpgconf", "--homedir", str(home), "--kill", "all")


@contextmanager
def gpg_key() -> Iterator[GpgKey]:
    """A GPG key for a while; its folder has a short name because of the agent's socket."""
    with tempfile.TemporaryDirectory(prefix="gpg", ignore_cleanup_errors=True) as folder:
        key = GpgKey(Path(folder))
        try:
            yield key
        finally:
            key.close()


class Origin:
    """A repository with a work tree at FOLDER, to which operators commit."""

    def __init__(self, folder: Path, branch: str = "main") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch", branch)

    @property
    def url(self) -> str:
        return f"file://{self.folder}"

    def git(self, *words: str, key: Key = NO_KEY) -> str:
        """Run git in the repository; gives what it wrote."""
        settings = [word for setting in key.settings for word in ("-c", setting)]
        done = _run("git", *settings, *words, cwd=self.folder, environment=key.environment)
        return done.stdout.decode("utf-8", "replace").strip()

    def write(self, files: Mapping[str, str]) -> None:
        """Write FILES, by path."""
        for path, text in files.items():
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def commit(self, files: Mapping[str, str] | None = None, key: Key = NO_KEY) -> str:
        """Commit FILES and whatever else was changed; gives the commit."""
        self.write(files or {})
        self.git("add", "--all")
        sign = ("-S",) if key is not NO_KEY else ()
        self.git("commit", "--quiet", "--allow-empty", "-m", "a change", *sign, key=key)
        return self.git("rev-parse", "HEAD")


def _run(
    *words: str,
    cwd: Path | None = None,
    data: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        plain |= {f"GIT_{role}_NAME": "ops", f"GIT_{role}_EMAIL": "ops@example.org"}
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return subprocess.run(
        words,
        cwd=cwd,
        input=data,
        env={**kept, **plain, **(environment or {})},
        capture_output=True,
        check=True,
    )
