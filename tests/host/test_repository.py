"""Documents from a repository: what is accepted, what is refused, what may be removed. Real git and real keys."""

import errno
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reconciler.drivers.command import find
from reconciler.drivers.watch import FolderWatch
from reconciler.errors import CkptreeError
from reconciler.source.ledger import Ledger, State
from reconciler.source.repository import GitSource
from reconciler.source.signers import fingerprint
from reconciler.spec.load import load_path
from reconciler.spec.settings import GitSource as Settings
from reconciler.spec.settings import Signers
from tests.support.origin import GpgKey, Origin, SshKey, document, gpg_key


@dataclass(frozen=True, slots=True)
class Keys:
    ops: SshKey
    stranger: SshKey
    gpg: GpgKey


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    folder = tmp_path_factory.mktemp("keys")
    with gpg_key() as gpg:
        yield Keys(SshKey(folder, "ops"), SshKey(folder, "stranger"), gpg)


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")


class Host:
    """A host that follows a repository."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.state = folder / "state"
        self.settings = settings

    @property
    def source(self) -> GitSource:
        """Opened anew each time, as by another process: nothing counts but what is in the state folder."""
        return GitSource(self.settings, self.state, self.ledger)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.state, lambda: datetime(2026, 11, 25, 12, tzinfo=UTC))

    def refresh(self) -> GitSource:
        self.source.refresh()
        return self.source

    def vms(self) -> list[str]:
        path = self.source.path
        assert path is not None
        return sorted(str(vm.vm) for vm in load_path(path).vms)


@pytest.fixture
def host(tmp_path: Path, origin: Origin) -> Host:
    return Host(tmp_path, Settings(url=origin.url))


# ---- fetching --------------------------------------------------------------------------------------------------------


def test_nothing_is_in_force_before_the_first_fetch(host: Host) -> None:
    assert (host.source.path, host.source.revision) == (None, None)


def test_the_tip_of_the_branch_is_in_force_after_a_fetch(host: Host, origin: Origin) -> None:
    commit = origin.commit({"web.yaml": document("web"), "README.md": "x"})
    refreshed = host.source.refresh()
    assert (refreshed.changed, refreshed.message) == (True, f"revision {commit[:12]} is in force")
    assert (host.source.revision, host.source.problem) == (commit, "")
    assert host.vms() == ["web"]
    assert not host.source.restraint.removals


def test_nothing_changes_where_there_is_nothing_new(host: Host, origin: Origin) -> None:
    origin.commit({"web.yaml": document("web")})
    host.refresh()
    assert not host.source.refresh().changed


def test_what_another_process_has_fetched_is_news_too(host: Host, origin: Origin) -> None:
    origin.commit({"web.yaml": document("web")})
    daemon = host.source
    daemon.refresh()
    origin.commit({"dns.yaml": document("dns")})
    assert host.source.refresh().changed
    assert daemon.refresh().changed
    assert not daemon.refresh().changed


def test_a_newer_commit_replaces_the_documents_under_the_same_path(
    host: Host, origin: Origin
) -> None:
    origin.commit({"web.yaml": document("web")})
    before = host.refresh().path
    (origin.folder / "web.yaml").unlink()
    commit = origin.commit({"dns.yaml": document("dns")})
    assert host.refresh().path == before
    assert (host.vms(), host.source.revision) == (["dns"], commit)


def test_only_the_folder_that_is_asked_for_is_laid_out(host: Host, origin: Origin) -> None:
    host.settings = replace(host.settings, path="hosts/one")
    origin.commit({"hosts/one/web.yaml": document("web"), "hosts/two/dns.yaml": document("dns")})
    path = host.refresh().path
    assert host.vms() == ["web"]
    assert path is not None
    laid_out = path.resolve().parents[1]
    assert [file.name for file in laid_out.rglob("*.yaml")] == ["web.yaml"]


def test_a_single_document_may_be_asked_for(host: Host, origin: Origin) -> None:
    host.settings = replace(host.settings, path="hosts/web.yaml")
    origin.commit({"hosts/web.yaml": document("web"), "hosts/dns.yaml": document("dns")})
    host.refresh()
    assert host.vms() == ["web"]


def test_another_folder_in_the_settings_counts_at_the_next_fetch(
    host: Host, origin: Origin
) -> None:
    origin.commit({"one/web.yaml": document("web"), "two/dns.yaml": document("dns")})
    host.settings = replace(host.settings, path="one")
    host.refresh()
    host.settings = replace(host.settings, path="two")
    assert host.source.path is None
    host.refresh()
    assert host.vms() == ["dns"]


@pytest.mark.parametrize("path", ["", "vms"])
def test_a_new_revision_wakes_who_watches_and_our_own_writing_does_not(
    host: Host, origin: Origin, path: str
) -> None:
    host.settings = replace(host.settings, path=path)
    commit = origin.commit({f"{path or '.'}/web.yaml": document("web")})
    documents = host.refresh().path
    assert documents is not None
    noticed = threading.Event()
    watch = FolderWatch(noticed.set)
    try:
        watch.refresh(documents, [])
        while noticed.wait(0.3):
            noticed.clear()
        host.refresh()
        host.ledger.note(commit, State.APPLIED, "all is so")
        assert not noticed.wait(1.0)
        origin.commit({f"{path or '.'}/dns.yaml": document("dns")})
        host.refresh()
        assert noticed.wait(20.0)
    finally:
        watch.close()


def test_only_a_few_releases_are_kept(host: Host, origin: Origin) -> None:
    for number in range(6):
        origin.commit({"web.yaml": document("web", f"# {number}\n")})
        host.refresh()
    assert len(list((host.state / "releases").iterdir())) == 3
    assert host.vms() == ["web"]


def test_all_that_is_kept_may_be_deleted(host: Host, origin: Origin) -> None:
    commit = origin.commit({"web.yaml": document("web")})
    host.refresh()
    host.state.rename(host.state.with_name("lost"))
    assert host.refresh().revision == commit
    assert host.vms() == ["web"]


@pytest.mark.parametrize("lost", ["in-force", "releases", "repository.git", "standing.json"])
def test_any_part_of_what_is_kept_may_be_deleted(host: Host, origin: Origin, lost: str) -> None:
    commit = origin.commit({"web.yaml": document("web")})
    host.refresh()
    (host.state / lost).rename(host.state.with_name("lost"))
    assert (host.refresh().revision, host.source.problem) == (commit, "")
    assert host.vms() == ["web"]


def test_a_copy_that_git_cannot_read_is_made_anew(host: Host, origin: Origin) -> None:
    origin.commit({"web.yaml": document("web")})
    host.refresh()
    (host.state / "repository.git" / "HEAD").unlink()
    commit = origin.commit({"dns.yaml": document("dns")})
    assert host.refresh().revision == commit


def test_a_lock_that_a_power_cut_left_does_not_stay_in_the_way(host: Host, origin: Origin) -> None:
    origin.commit({"web.yaml": document("web")})
    host.refresh()
    lock = host.state / "repository.git" / "refs" / "ckptree" / "tip.lock"
    lock.touch()
    commit = origin.commit({"dns.yaml": document("dns")})
    assert "cannot be fetched" in host.refresh().problem
    os.utime(lock, (0, 0))
    assert (host.refresh().revision, host.source.problem) == (commit, "")


@pytest.mark.parametrize(
    "left",
    [
        "HEAD.lock",
        "refs/ckptree/tip.lock",
        "objects/maintenance.lock",
        "objects/info/commit-graph.lock",
        "gc.pid",
        "objects/pack/tmp_pack_Ab12",
        "objects/pack/.tmp-4711-pack-ab12.pack",
        "objects/ab/tmp_obj_Ab12",
    ],
)
def test_what_a_killed_git_left_goes_at_the_next_look_though_nothing_is_fetched(
    host: Host, origin: Origin, left: str
) -> None:
    origin.commit({"web.yaml": document("web")})
    host.refresh()
    file = host.state / "repository.git" / left
    file.parent.mkdir(exist_ok=True)
    file.touch()
    os.utime(file, (0, 0))
    host.refresh()
    assert not file.exists()


def test_a_pack_that_was_cut_off_a_moment_ago_goes_and_a_whole_one_stays(
    host: Host, origin: Origin
) -> None:
    commit = origin.commit({"web.yaml": document("web")})
    host.refresh()
    packs = host.state / "repository.git" / "objects" / "pack"
    (packs / "pack-ab12.keep").touch()
    whole = set(packs.iterdir())
    (packs / "tmp_pack_Ab12").touch()
    host.refresh()
    assert set(packs.iterdir()) == whole
    assert (host.source.revision, host.source.problem) == (commit, "")


def test_documents_that_were_deleted_here_come_back_without_the_repository(
    host: Host, origin: Origin
) -> None:
    commit = origin.commit({"web.yaml": document("web")})
    host.refresh()
    (host.state / "in-force" / "current").unlink()
    (host.state / "releases").rename(host.state / "gone")
    origin.folder.rename(origin.folder.with_name("moved"))
    assert host.refresh().revision == commit
    assert "cannot be reached" in host.source.problem


def test_two_who_fetch_at_once_do_not_disturb_each_other(host: Host, origin: Origin) -> None:
    commit = origin.commit({"web.yaml": document("web")})
    threads = [threading.Thread(target=host.refresh) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (host.source.revision, host.source.problem) == (commit, "")


# ---- repositories that are not as they should be ---------------------------------------------------------------------


def test_an_unreachable_repository_leaves_the_last_revision_in_force(
    host: Host, origin: Origin
) -> None:
    commit = origin.commit({"web.yaml": document("web")})
    host.refresh()
    origin.folder.rename(origin.folder.with_name("moved"))
    source = host.refresh()
    assert source.revision == commit
    assert source.problem.startswith("the repository cannot be reached: ")
    assert source.problem.endswith(f"; going on with revision {commit[:12]}")
    origin.folder.with_name("moved").rename(origin.folder)
    assert host.refresh().problem == ""


def test_a_repository_that_was_never_there_is_said_to_be_so(host: Host, origin: Origin) -> None:
    origin.folder.rename(origin.folder.with_name("moved"))
    source = host.refresh()
    assert source.path is None
    assert source.problem.startswith("the repository cannot be reached: ")
    assert source.problem.endswith("; nothing is in force yet")


def test_an_empty_repository_is_said_to_be_so(host: Host) -> None:
    assert host.refresh().problem.startswith("the repository is empty (push a commit")


def test_a_branch_that_was_renamed_leaves_the_last_revision_in_force(
    host: Host, origin: Origin
) -> None:
    commit = origin.commit({"web.yaml": document("web")})
    host.refresh()
    origin.git("branch", "--move", "trunk")
    source = host.refresh()
    assert source.revision == commit
    assert source.problem.startswith(
        "the repository has no branch main (it has trunk: change 'branch')"
    )


def test_a_folder_that_is_gone_leaves_the_last_revision_in_force(
    host: Host, origin: Origin
) -> None:
    host.settings = replace(host.settings, path="vms")
    commit = origin.commit({"vms/web.yaml": document("web")})
    host.refresh()
    origin.git("mv", "vms", "machines")
    second = origin.commit()
    source = host.refresh()
    assert source.revision == commit
    assert source.problem.startswith(f"commit {second[:12]} is refused: there is no 'vms' in it")
    assert host.vms() == ["web"]


def test_a_revision_without_documents_is_refused(host: Host, origin: Origin) -> None:
    commit = origin.commit({"README.md": "nothing yet"})
    assert host.refresh().problem.startswith(
        f"commit {commit[:12]} is refused: there is no document (*.yaml) in its top folder"
    )


def test_what_is_no_plain_file_becomes_a_fault_and_hurts_no_other_vm(
    host: Host, origin: Origin, tmp_path: Path
) -> None:
    (tmp_path / "secret.yaml").write_text(document("secret"))
    origin.write({"web.yaml": document("web"), "huge.yaml": "#" * (3 << 20)})
    (origin.folder / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    (origin.folder / "folder.yaml").mkdir()
    (origin.folder / "folder.yaml" / "x").touch()
    inner = Origin(origin.folder / "module.yaml")
    inner.commit({"x": "y"})
    origin.commit()
    path = host.refresh().path
    assert path is not None
    loaded = load_path(path)
    assert [str(vm.vm) for vm in loaded.vms] == ["web"]
    said = {Path(found.position.file).name: found.message for found in loaded.findings}
    assert said == {
        "huge.yaml": "the file is larger than 1 MiB",
        "link.yaml": "this is not a regular file",
        "folder.yaml": "this is not a regular file",
        "module.yaml": "this is not a regular file",
    }


def test_a_repository_whose_folder_is_a_link_out_of_it_is_refused(
    host: Host, origin: Origin, tmp_path: Path
) -> None:
    host.settings = replace(host.settings, path="vms")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "web.yaml").write_text(document("web"))
    (origin.folder / "vms").symlink_to(tmp_path / "elsewhere")
    origin.commit()
    assert "is refused" in host.refresh().problem
    assert host.source.path is None


def test_settings_and_hooks_of_the_host_have_no_effect(
    host: Host, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = tmp_path / "hooks" / "reference-transaction"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    (tmp_path / ".gitconfig").write_text(
        f'[core]\n\thooksPath = {hook.parent}\n[url "file:///nowhere"]\n\tinsteadOf = file://\n'
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / ".gitconfig"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    origin.commit({"web.yaml": document("web")})
    assert host.refresh().problem == ""
    assert not (tmp_path / "ran").exists()


def test_a_password_in_the_address_is_shown_nowhere(tmp_path: Path) -> None:
    host = Host(tmp_path, Settings(url="https://ops:pass4711@127.0.0.1:9/vms.git"))
    source = host.refresh()
    assert source.place == "https://127.0.0.1:9/vms.git (main)"
    assert source.problem.startswith("the repository cannot be reached: ")
    assert "pass4711" not in source.problem
    assert (host.state / "gitconfig").stat().st_mode & 0o777 == 0o600


class Files(SimpleHTTPRequestHandler):
    """A web server that only has files."""

    def log_message(self, *_: object) -> None:
        pass


class Smart(Files):
    """A web server with git-http-backend(1) behind it, as the forges have it."""

    def do_GET(self) -> None:
        place, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        words = {
            "GIT_PROJECT_ROOT": self.directory,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            "PATH": os.environ["PATH"],
            "PATH_INFO": place,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
        }
        answer = subprocess.run(
            ["git", "http-backend"], env=words, input=body, capture_output=True, check=True
        )
        head, _, content = answer.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().splitlines()]
        self.send_response(int(dict(headers).get("Status", "200").split()[0]))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()


@pytest.mark.parametrize("server_kind", [Files, Smart])
def test_a_repository_is_read_over_http(
    host: Host, origin: Origin, keys: Keys, server_kind: type[Files]
) -> None:
    commit = origin.commit({"web.yaml": document("web")}, keys.ops.key)
    origin.git("update-server-info")
    handler = partial(server_kind, directory=str(origin.folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/.git"
        host.settings = Settings(url=url, verify=Signers(ssh=keys.ops.signers))
        assert (host.refresh().problem, host.source.revision) == ("", commit)
        server.shutdown()
    assert "cannot be reached" in host.refresh().problem
    assert host.source.revision == commit


# ---- signatures ------------------------------------------------------------------------------------------------------


@pytest.fixture
def strict(host: Host, keys: Keys) -> Host:
    host.settings = replace(
        host.settings, verify=Signers(ssh=keys.ops.signers, gpg=keys.gpg.public)
    )
    return host


@contextmanager
def without(program: str, folder: Path) -> Iterator[None]:
    """Have all of git and its helpers, but not PROGRAM, where programs are looked for."""
    programs = folder / "programs"
    programs.mkdir()
    for name in {"git", "gpg", "ssh-keygen"} - {program}:
        (programs / name).symlink_to(find(name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reconciler.drivers.command.TRUSTED", (str(programs),))
        yield


def refused(source: GitSource, commit: str) -> str:
    start = f"commit {commit[:12]} is refused: "
    assert source.problem.startswith(start), source.problem
    return source.problem.removeprefix(start).partition("; going on")[0].partition("; nothing")[0]


@pytest.mark.parametrize("kind", ["ssh", "gpg"])
def test_a_signed_commit_is_accepted(strict: Host, origin: Origin, keys: Keys, kind: str) -> None:
    key = keys.ops.key if kind == "ssh" else keys.gpg.key
    commit = origin.commit({"web.yaml": document("web")}, key)
    assert (strict.refresh().revision, strict.source.problem) == (commit, "")


@pytest.mark.parametrize("kind", ["ssh", "gpg"])
def test_one_kind_of_signers_does_not_accept_the_other(
    host: Host, origin: Origin, keys: Keys, kind: str
) -> None:
    if kind == "ssh":
        host.settings = replace(host.settings, verify=Signers(ssh=keys.ops.signers))
        commit = origin.commit({"web.yaml": document("web")}, keys.gpg.key)
        assert refused(host.refresh(), commit) == f"commit {commit[:12]} is not signed with SSH"
    else:
        host.settings = replace(host.settings, verify=Signers(gpg=keys.gpg.public))
        commit = origin.commit({"web.yaml": document("web")}, keys.ops.key)
        assert refused(host.refresh(), commit) == f"commit {commit[:12]} is not signed with GPG"
    assert host.source.revision is None


def test_an_unsigned_commit_is_refused_and_the_one_before_stays(
    strict: Host, origin: Origin, keys: Keys
) -> None:
    good = origin.commit({"web.yaml": document("web")}, keys.ops.key)
    strict.refresh()
    bad = origin.commit({"dns.yaml": document("dns")})
    source = strict.refresh()
    assert refused(source, bad) == f"commit {bad[:12]} is not signed"
    assert (source.revision, strict.vms()) == (good, ["web"])
    entry = strict.ledger.last(bad)
    assert entry is not None
    assert (entry.state, entry.message) == (State.REFUSED, f"commit {bad[:12]} is not signed")


def test_a_refusal_is_told_once_and_found_anew_when_the_signers_change(
    strict: Host, origin: Origin, keys: Keys, tmp_path: Path
) -> None:
    signers = tmp_path / "signers"
    signers.write_text(keys.ops.line)
    strict.settings = replace(strict.settings, verify=Signers(ssh=signers))
    origin.commit({"web.yaml": document("web")}, keys.ops.key)
    strict.refresh()
    second = origin.commit({"dns.yaml": document("dns")}, keys.stranger.key)
    strict.refresh()
    assert "does not allow" in refused(strict.refresh(), second)
    assert len(strict.ledger.entries()) == 1
    signers.write_text(keys.ops.line + keys.stranger.line)
    assert (strict.refresh().revision, strict.source.problem) == (second, "")


def test_a_commit_by_an_unknown_ssh_key_is_refused(
    strict: Host, origin: Origin, keys: Keys
) -> None:
    bad = origin.commit({"web.yaml": document("web")}, keys.stranger.key)
    assert f"which {keys.ops.signers} does not allow" in refused(strict.refresh(), bad)


def test_a_commit_by_an_unknown_gpg_key_is_refused(strict: Host, origin: Origin) -> None:
    with gpg_key() as stranger:
        bad = origin.commit({"web.yaml": document("web")}, stranger.key)
    assert "its key is not known here" in refused(strict.refresh(), bad)


@pytest.mark.parametrize("kind", ["ssh", "gpg"])
def test_a_commit_that_was_changed_after_it_was_signed_is_refused(
    strict: Host, origin: Origin, keys: Keys, kind: str
) -> None:
    origin.commit({"web.yaml": document("web")}, keys.ops.key if kind == "ssh" else keys.gpg.key)
    text = origin.git("cat-file", "commit", "HEAD").replace("a change", "another")
    (origin.folder / ".git" / "forged").write_text(text + "\n")
    forged = origin.git("hash-object", "-t", "commit", "-w", ".git/forged")
    origin.git("reset", "--quiet", "--hard", forged)
    assert "has a signature that does not fit it" in refused(strict.refresh(), forged)


def test_one_bad_commit_in_the_middle_refuses_all_after_it(
    strict: Host, origin: Origin, keys: Keys
) -> None:
    good = origin.commit({"web.yaml": document("web")}, keys.ops.key)
    strict.refresh()
    bad = origin.commit({"dns.yaml": document("dns")}, keys.stranger.key)
    tip = origin.commit({"mail.yaml": document("mail")}, keys.ops.key)
    source = strict.refresh()
    assert refused(source, tip).startswith(f"commit {bad[:12]} is signed with SHA256:")
    assert source.revision == good


def test_a_bad_commit_of_a_side_branch_that_was_merged_counts_too(
    strict: Host, origin: Origin, keys: Keys
) -> None:
    good = origin.commit({"web.yaml": document("web")}, keys.ops.key)
    strict.refresh()
    origin.git("checkout", "--quiet", "-b", "side")
    bad = origin.commit({"dns.yaml": document("dns")})
    origin.git("checkout", "--quiet", "main")
    origin.git("merge", "--quiet", "--no-ff", "-S", "-m", "merged", "side", key=keys.ops.key)
    source = strict.refresh()
    assert f"commit {bad[:12]} is not signed" in source.problem
    assert source.revision == good


def test_what_was_before_the_first_accepted_commit_does_not_count(
    strict: Host, origin: Origin, keys: Keys
) -> None:
    origin.commit({"web.yaml": document("web")})
    tip = origin.commit({"dns.yaml": document("dns")}, keys.ops.key)
    assert strict.refresh().revision == tip


def test_the_history_behind_a_force_push_is_verified_whole(
    strict: Host, origin: Origin, keys: Keys
) -> None:
    good = origin.commit({"web.yaml": document("web")}, keys.ops.key)
    strict.refresh()
    origin.git("checkout", "--quiet", "--orphan", "other")
    bad = origin.commit({"dns.yaml": document("dns")})
    origin.git("branch", "--force", "main", origin.commit({"x": ""}, keys.ops.key))
    source = strict.refresh()
    assert f"commit {bad[:12]} is not signed" in source.problem
    assert source.revision == good


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("missing", "is not there (create it, or name another one)"),
        ("open", "take that right away with chmod o-w"),
        ("in an open folder", "take that right away with chmod o-w"),
        ("another's", "belongs to another user (give it to root with chown)"),
        ("inside", "lies where the repository's own files are (move it away)"),
    ],
)
def test_signers_that_cannot_be_trusted_accept_nothing(
    strict: Host,
    origin: Origin,
    keys: Keys,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
    says: str,
) -> None:
    origin.commit({"web.yaml": document("web")}, keys.ops.key)
    signers = (strict.state if wrong == "inside" else tmp_path / "keys") / "signers"
    if wrong != "missing":
        signers.parent.mkdir(exist_ok=True)
        signers.write_text(keys.ops.line)
        signers.chmod(0o666 if wrong == "open" else 0o600)
        if wrong == "in an open folder":
            signers.parent.chmod(0o777)
        if wrong == "another's" and os.geteuid() == 0:
            os.chown(signers, 12345, -1)
        elif wrong == "another's":
            monkeypatch.setattr("os.geteuid", lambda: 54321)
    strict.settings = replace(strict.settings, verify=Signers(ssh=signers))
    assert says in strict.refresh().problem
    assert strict.source.revision is None


def test_a_gnupg_home_in_which_everybody_may_create_files_accepts_nothing(
    host: Host, origin: Origin, keys: Keys, tmp_path: Path
) -> None:
    origin.commit({"web.yaml": document("web")}, keys.gpg.key)
    home = tmp_path / "home"
    shutil.copytree(keys.gpg.public, home, ignore=shutil.ignore_patterns("S.*"))
    home.chmod(0o1777)
    host.settings = replace(host.settings, verify=Signers(gpg=home))
    assert f"everybody may write to {home} (take that right" in host.refresh().problem
    home.chmod(0o700)
    assert host.refresh().problem == ""


def test_signers_that_were_put_right_count_at_once(
    strict: Host, origin: Origin, keys: Keys, tmp_path: Path
) -> None:
    signers = tmp_path / "signers"
    signers.write_text(keys.ops.line)
    signers.chmod(0o666)
    strict.settings = replace(strict.settings, verify=Signers(ssh=signers))
    commit = origin.commit({"web.yaml": document("web")}, keys.ops.key)
    strict.refresh()
    assert strict.ledger.last(commit) is None
    signers.chmod(0o600)
    assert (strict.refresh().revision, strict.source.problem) == (commit, "")


@pytest.mark.parametrize("kind", ["ssh", "gpg"])
def test_a_program_that_was_missing_is_no_fault_of_the_commit(
    strict: Host, origin: Origin, keys: Keys, tmp_path: Path, kind: str
) -> None:
    key, program = (keys.ops.key, "ssh-keygen") if kind == "ssh" else (keys.gpg.key, "gpg")
    commit = origin.commit({"web.yaml": document("web")}, key)
    with without(program, tmp_path):
        source = strict.refresh()
    assert source.problem == (
        f"the signatures of the commits cannot be checked: there is no program {program} (install it)"
        "; nothing is in force yet"
    )
    assert (source.revision, strict.ledger.last(commit)) == (None, None)
    assert (strict.refresh().revision, strict.source.problem) == (commit, "")


def test_a_program_that_no_signature_needs_may_be_missing(
    strict: Host, origin: Origin, keys: Keys, tmp_path: Path
) -> None:
    commit = origin.commit({"web.yaml": document("web")}, keys.ops.key)
    with without("gpg", tmp_path):
        assert (strict.refresh().revision, strict.source.problem) == (commit, "")


def test_signatures_that_took_too_long_are_checked_again(
    strict: Host, origin: Origin, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = origin.commit({"web.yaml": document("web")}, keys.ops.key)
    monkeypatch.setattr("reconciler.drivers.git._VERIFYING", 0.0)
    says = "the signatures of the commits cannot be checked: it did not answer in time"
    assert strict.refresh().problem == f"{says}; nothing is in force yet"
    assert strict.ledger.last(commit) is None
    monkeypatch.undo()
    assert (strict.refresh().revision, strict.source.problem) == (commit, "")


@pytest.mark.parametrize("file", ["pubring.kbx", "public-keys.d/pubring.db"])
def test_a_refused_commit_is_looked_at_again_when_the_keys_change(
    tmp_path: Path, file: str
) -> None:
    signers = Signers(gpg=tmp_path)
    before = fingerprint(signers)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"keys")
    assert fingerprint(signers) != before


def test_signers_of_removals_that_cannot_be_trusted_keep_no_document_back(
    host: Host, origin: Origin, keys: Keys, tmp_path: Path
) -> None:
    signers = tmp_path / "signers"
    host.settings = replace(host.settings, destructive=Signers(ssh=signers))
    commit = origin.commit({"web.yaml": document("web")}, keys.ops.key)
    source = host.refresh()
    assert (source.revision, source.problem) == (commit, "")
    assert "is not there (create it, or name another one)" in source.restraint.removals
    signers.write_text(keys.ops.line)
    assert not host.refresh().restraint.removals


# ---- what may be removed ---------------------------------------------------------------------------------------------


def test_a_rewound_history_is_used_and_removes_nothing_until_it_is_approved(
    host: Host, origin: Origin
) -> None:
    first = origin.commit({"web.yaml": document("web")})
    second = origin.commit({"dns.yaml": document("dns")})
    host.refresh()
    origin.git("reset", "--quiet", "--hard", first)
    source = host.refresh()
    assert (source.revision, host.vms(), source.problem) == (first, ["web"], "")
    assert source.restraint.removals == (
        f"commit {first[:12]} does not follow from {second[:12]}, the last one that was accepted"
        f" (look at it, then 'ckptree approve --revision {first[:12]}')"
    )
    assert source.approve(first[:12]) == first
    assert not host.source.restraint.removals
    assert not host.refresh().restraint.removals


def test_what_follows_from_a_rewound_history_removes_nothing_either(
    host: Host, origin: Origin
) -> None:
    first = origin.commit({"web.yaml": document("web")})
    origin.commit({"dns.yaml": document("dns")})
    host.refresh()
    origin.git("reset", "--quiet", "--hard", first)
    host.refresh()
    origin.commit({"mail.yaml": document("mail")})
    assert host.refresh().restraint.removals
    host.source.approve(str(host.source.revision))
    host.refresh()
    origin.commit({"ntp.yaml": document("ntp")})
    assert not host.refresh().restraint.removals


def test_a_history_that_came_back_removes_again(host: Host, origin: Origin) -> None:
    first = origin.commit({"web.yaml": document("web")})
    second = origin.commit({"dns.yaml": document("dns")})
    host.refresh()
    origin.git("reset", "--quiet", "--hard", first)
    host.refresh()
    origin.git("reset", "--quiet", "--hard", second)
    assert not host.refresh().restraint.removals


def test_an_unrelated_history_removes_nothing(host: Host, origin: Origin) -> None:
    origin.commit({"web.yaml": document("web")})
    host.refresh()
    origin.git("checkout", "--quiet", "--orphan", "other")
    other = origin.commit({"dns.yaml": document("dns")})
    origin.git("branch", "--force", "main", other)
    assert f"commit {other[:12]} does not follow from" in host.refresh().restraint.removals


def test_an_amended_commit_that_was_force_pushed_removes_nothing(
    host: Host, origin: Origin
) -> None:
    origin.commit({"web.yaml": document("web")})
    origin.commit({"dns.yaml": document("dns")})
    host.refresh()
    origin.git("commit", "--quiet", "--amend", "-m", "amended")
    assert "does not follow from" in host.refresh().restraint.removals


def test_an_approval_is_for_one_commit_only(host: Host, origin: Origin) -> None:
    first = origin.commit({"web.yaml": document("web")})
    second = origin.commit({"dns.yaml": document("dns")})
    host.refresh()
    with pytest.raises(CkptreeError, match="waits for approval"):
        host.source.approve(second)
    origin.git("reset", "--quiet", "--hard", first)
    host.refresh()
    for wrong in (second, first[:6], "HEAD"):
        with pytest.raises(CkptreeError, match="the revision in force is"):
            host.source.approve(wrong)
    host.source.approve(first[:7].upper())
    origin.git("commit", "--quiet", "--amend", "-m", "amended")
    assert host.refresh().restraint.removals


def test_only_those_named_may_have_anything_removed(host: Host, origin: Origin, keys: Keys) -> None:
    host.settings = replace(host.settings, destructive=Signers(gpg=keys.gpg.public))
    first = origin.commit({"web.yaml": document("web")}, keys.gpg.key)
    assert not host.refresh().restraint.removals
    bad = origin.commit({"dns.yaml": document("dns")})
    tip = origin.commit({"mail.yaml": document("mail")}, keys.gpg.key)
    source = host.refresh()
    assert (source.revision, source.problem, host.vms()) == (tip, "", ["dns", "mail", "web"])
    assert source.restraint.removals == (
        f"the signers of 'destructive' have not signed it all: commit {bad[:12]} is not signed with GPG"
        f" (look at it, then 'ckptree approve --revision {tip[:12]}')"
    )
    source.approve(tip)
    host.refresh()
    origin.commit({"ntp.yaml": document("ntp")}, keys.gpg.key)
    assert not host.refresh().restraint.removals
    assert first


def test_documents_that_were_read_before_another_revision_came_remove_nothing(
    host: Host, origin: Origin
) -> None:
    first = origin.commit({"web.yaml": document("web")})
    host.refresh()
    assert not host.source.restraint_of(first).removals
    origin.commit({"dns.yaml": document("dns")})
    host.refresh()
    assert "not in force any more" in host.source.restraint_of(first).removals


def test_where_it_cannot_be_read_what_was_accepted_nothing_comes_and_nothing_is_removed(
    host: Host, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = origin.commit({"web.yaml": document("web")})
    second = origin.commit({"dns.yaml": document("dns")})
    source = host.refresh()
    origin.git("reset", "--quiet", "--hard", first)

    def fails(_: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fails)
        assert not source.refresh().changed
        says = f"{host.state}/standing.json cannot be read: Too many open files"
        assert says in source.problem
        assert host.source.problem == says
        assert (source.revision, source.restraint.removals) == (second, says)
        with pytest.raises(CkptreeError, match="Too many open files"):
            source.approve(second)
    assert source.refresh().changed
    assert (source.revision, source.problem) == (first, "")
    assert f"does not follow from {second[:12]}" in source.restraint.removals


def test_a_damaged_memory_is_begun_anew_by_a_person_only(host: Host, origin: Origin) -> None:
    first = origin.commit({"web.yaml": document("web")})
    host.refresh()
    second = origin.commit({"dns.yaml": document("dns")})
    (host.state / "standing.json").write_text("{")
    source = host.refresh()
    assert "standing.json is damaged (move it away to begin anew)" in source.problem
    assert (source.revision, host.vms()) == (first, ["web"])
    (host.state / "standing.json").unlink()
    assert (host.refresh().revision, host.source.problem) == (second, "")


def test_a_revision_that_was_not_applied_is_superseded(host: Host, origin: Origin) -> None:
    first = origin.commit({"web.yaml": document("web")})
    host.refresh()
    second = origin.commit({"dns.yaml": document("dns")})
    host.refresh()
    host.ledger.note(second, State.APPLIED, "all is so")
    origin.commit({"mail.yaml": document("mail")})
    host.refresh()
    states = {entry.revision: entry.state for entry in host.ledger.latest()}
    assert states == {first: State.SUPERSEDED, second: State.APPLIED}


def test_a_state_folder_that_cannot_be_used_is_said_to_be_so(
    tmp_path: Path, origin: Origin
) -> None:
    origin.commit({"web.yaml": document("web")})
    (tmp_path / "state").write_text("in the way")
    source = Host(tmp_path, Settings(url=origin.url)).source
    assert not source.refresh().changed
    assert "cannot be used" in source.problem
