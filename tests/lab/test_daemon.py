"""`ckptree run` from end to end, on real ZFS: edit, commit or wait, and the host follows."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from reconciler.drivers.identity import this_host
from reconciler.drivers.journal import FileJournal
from reconciler.drivers.zfs.choose import choose
from reconciler.model.journal import Applied, Confirmed, Realised
from reconciler.names import NodeName, Snapshot
from tests.lab.daemon import SECONDS, Daemon
from tests.lab.operator import Operator, shell
from tests.lab.test_rows import new_vm

WRITE_PATH = "auto"


@pytest.fixture
def home(dataset: str) -> Iterator[str]:
    """A dataset for homes, of which every hold is released at the end."""
    yield dataset
    held = f"zfs list -H -t snapshot -o name,userrefs -r {dataset} | awk '$2 > 0 {{print $1}}'"
    shell("sh", "-c", f"{held} | xargs -r zfs release ckptree")


@pytest.fixture
def operator(home: str, tmp_path: Path) -> Operator:
    documents = tmp_path / "vms.d"
    documents.mkdir()
    operator = new_vm(f"{home}/web", documents, WRITE_PATH, ())
    operator.write("base:")
    return operator


@pytest.fixture
def daemon(operator: Operator) -> Iterator[Daemon]:
    daemon = Daemon(operator.folder, WRITE_PATH)
    daemon.start()
    yield daemon
    daemon.kill()


def follows(daemon: Daemon, operator: Operator, *nodes: str) -> None:
    """Wait until the daemon has taken NODES, one below the other."""

    def there() -> bool:
        text = shell("zfs", "list", "-H", "-t", "snapshot", "-o", "name", "-r", operator.home)
        found = {line.partition("@")[2] for line in text.splitlines()}
        return set(nodes) <= found

    daemon.wait_until(there, f"{nodes} were not taken")


def below(*nodes: str) -> str:
    """A tree of NODES, each below the one before."""
    text = ""
    for node in reversed(nodes):
        inner = "".join(f"\n    {line}" for line in text.splitlines())
        text = f"{node}:" + (f"\n  checkpoints:{inner}" if text else "")
    return text


# Ways in which documents are really written


def by_vim(document: Path, text: str) -> None:
    script = document.parent.parent / "edit.vim"
    fresh = document.parent.parent / "wanted.yaml"
    fresh.write_text(text)
    script.write_text(f"%delete\n0read {fresh}\nglobal/^$/delete\nwq\n")
    shell("vim.tiny", "-u", "NONE", "-es", "-S", str(script), str(document))


def by_nano(document: Path, text: str) -> None:
    """Nano on a terminal: the old lines are cut, the new ones come, Ctrl-O, Ctrl-X."""
    master, slave = pty.openpty()
    nano = subprocess.Popen(
        ["nano", "--ignorercfiles", str(document)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "vt100"},
        start_new_session=True,
    )
    os.close(slave)
    try:
        old = document.read_text().count("\n") + 1
        keys = [b"\x0b" * old, text.encode().replace(b"\n", b"\r"), b"\x0f", b"\r", b"\x18"]
        for key in keys:
            until_it_waits(master)
            os.write(master, key)
        assert nano.wait(SECONDS) == 0
    finally:
        nano.kill()
        os.close(master)
    assert document.read_text().strip() == text.strip()


def until_it_waits(terminal: int) -> None:
    """Read what a program shows on TERMINAL, until it has shown something and then nothing more for a while."""
    patience = SECONDS
    while select.select([terminal], [], [], patience)[0]:
        os.read(terminal, 1 << 16)
        patience = 1.0


def by_sed(document: Path, text: str) -> None:
    body = document.parent.parent / "wanted.yaml"
    body.write_text(text)
    shell("sed", "-i", "-e", f"1r {body}", "-e", "d", str(document))


def by_cp(document: Path, text: str) -> None:
    fresh = document.parent.parent / "wanted.yaml"
    fresh.write_text(text)
    shell("cp", str(fresh), str(document))


def by_mv(document: Path, text: str) -> None:
    fresh = document.parent.parent / "wanted.yaml"
    fresh.write_text(text)
    shell("mv", str(fresh), str(document))


def by_git_checkout(document: Path, text: str) -> None:
    folder = document.parent
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    before = document.read_bytes()
    shell("git", "-C", str(folder), "init", "-q")
    shell(*git, "add", document.name)
    shell(*git, "commit", "-q", "-m", "before")
    shell(*git, "checkout", "-q", "-b", "other")
    blob = folder.parent / "wanted.yaml"
    blob.write_text(text)
    found = shell(*git, "hash-object", "-w", str(blob)).strip()
    shell(*git, "update-index", "--cacheinfo", f"100644,{found},{document.name}")
    tree = shell(*git, "write-tree").strip()
    commit = shell(*git, "commit-tree", tree, "-p", "HEAD", "-m", "wanted").strip()
    assert document.read_bytes() == before
    shell(*git, "reset", "-q")
    shell(*git, "checkout", "-q", commit)
    shutil.rmtree(folder / ".git")


EDITORS: tuple[Callable[[Path, str], None], ...] = (
    by_vim,
    by_nano,
    by_sed,
    by_cp,
    by_mv,
    by_git_checkout,
)


def test_an_edit_is_followed_whichever_way_it_is_written(
    daemon: Daemon, operator: Operator, tmp_path: Path
) -> None:
    drafts = Operator(operator.home, tmp_path, WRITE_PATH, ())
    follows(daemon, operator, "base")
    nodes = ["base"]
    for edit in EDITORS:
        nodes.append(edit.__name__.replace("_", "-"))
        drafts.write(below(*nodes))
        wanted = drafts.document.read_text()
        edit(operator.document, wanted)
        assert operator.document.read_text().strip() == wanted.strip(), edit.__name__
        follows(daemon, operator, *nodes)
    assert daemon.stop() == 0
    assert "no event had told of" not in daemon.said()


def test_a_link_that_is_swapped_is_followed(operator: Operator, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    for name, tree in (("one", below("base")), ("two", below("base", "swapped"))):
        (releases / name).mkdir(parents=True)
        operator.write(tree)
        shutil.copy(operator.document, releases / name)
    link = tmp_path / "current.d"
    link.symlink_to(releases / "one")
    daemon = Daemon(link, WRITE_PATH)
    daemon.start()
    try:
        follows(daemon, operator, "base")
        fresh = tmp_path / "fresh"
        fresh.symlink_to(releases / "two")
        fresh.replace(link)
        follows(daemon, operator, "base", "swapped")
    finally:
        daemon.kill()


def test_a_burst_of_edits_ends_in_the_last_one_and_not_in_as_many_plans(
    daemon: Daemon, operator: Operator
) -> None:
    follows(daemon, operator, "base")
    for number in range(40):
        operator.write(below("base", "last") if number == 39 else f"base:\n  about: {number}")
    follows(daemon, operator, "base", "last")
    journal = (operator.path / ".ckptree" / "journal.jsonl").read_text()
    assert journal.count('"Begun"') < 10, journal


def test_a_fault_is_told_and_what_was_valid_stays_in_force_until_it_is_mended(
    daemon: Daemon, operator: Operator
) -> None:
    """Invariant 9."""
    follows(daemon, operator, "base")
    valid = operator.document.read_text()
    operator.document.write_text("vm: [\n")
    daemon.wait_until(lambda: "web.yaml:" in daemon.said(), "the fault is not told")
    operator.document.unlink()
    operator.document.write_text(valid)
    operator.write(below("base", "mended"))
    follows(daemon, operator, "base", "mended")
    assert daemon.said().count("web.yaml:") == 1


def test_a_reload_reads_the_settings_and_faulty_ones_change_nothing(
    daemon: Daemon, operator: Operator, tmp_path: Path
) -> None:
    follows(daemon, operator, "base")
    daemon.set_up("interval: never\n")
    daemon.signal(signal.SIGHUP)
    daemon.wait_until(lambda: "stay in force" in daemon.said(), "the fault is not told")
    elsewhere = tmp_path / "elsewhere.d"
    elsewhere.mkdir()
    operator.write(below("base", "moved"))
    operator.document.rename(elsewhere / "web.yaml")
    daemon.folder = elsewhere
    daemon.set_up("interval: 1h\n")
    daemon.signal(signal.SIGHUP)
    follows(daemon, operator, "base", "moved")


def test_status_tells_of_the_daemon_and_that_there_is_none(
    daemon: Daemon, operator: Operator
) -> None:
    follows(daemon, operator, "base")
    told = operator.ckptree("status")
    assert f"pid {daemon.process.pid if daemon.process else None}" in told.text
    assert daemon.stop() == 0
    assert "without the daemon" in operator.ckptree("status").text


def test_a_second_daemon_is_refused(daemon: Daemon, operator: Operator) -> None:
    refused = operator.ckptree("--config", str(daemon.config), "run")
    assert refused.code == 1
    assert "only one" in refused.err


def test_the_end_comes_between_two_actions_and_the_next_run_goes_on(
    operator: Operator, tmp_path: Path
) -> None:
    slow, begun = tmp_path / "slow", tmp_path / "begun"
    slow.write_text(f"#!/bin/sh\ntouch {begun}\nsleep 5\n")
    slow.chmod(0o755)
    hook = f"hooks: {{before-checkpoint: {{run: [{slow}], timeout: 60s}}}}"
    operator.write(below("base", "twig"))
    operator.apply()
    operator.write(below("base", "twig", "leaf"), hook, "current: base")
    daemon = Daemon(operator.folder, WRITE_PATH)
    daemon.start()
    try:
        daemon.wait_until(begun.exists, "the hook is not run")
        assert daemon.stop() == 0
        assert "stopped before the next action" in daemon.said()
        assert operator.link == "b-1"
        assert "b-1@leaf" in operator.snapshots()
        daemon.start()
        daemon.wait_until(lambda: operator.link == "b-2", "it is not gone on with")
    finally:
        daemon.kill()


@pytest.mark.parametrize("lines", [1, 3, 6, 9, 12])
def test_it_is_killed_at_any_moment_and_the_next_run_makes_what_is_written(
    operator: Operator, lines: int
) -> None:
    """Invariant 4. A capture and a restore are begun, and LINES of the journal written, when the daemon is killed."""
    operator.write(below("base", "twig"))
    operator.apply()
    journal = operator.path / ".ckptree" / "journal.jsonl"
    enough = journal.read_bytes().count(b"\n") + lines
    operator.write(below("base", "twig", "leaf"), "current: base")
    daemon = Daemon(operator.folder, WRITE_PATH)
    try:
        daemon.launch()
        daemon.wait_until(
            lambda: journal.read_bytes().count(b"\n") >= enough, "too little happens", every=0.01
        )
        daemon.kill()
        daemon.start()
        daemon.wait_until(lambda: operator.ckptree("plan").code == 0, "it does not come to rest")
    finally:
        daemon.kill()
    assert operator.link == "b-2"
    assert "b-1@leaf" in operator.snapshots()


@pytest.fixture
def wall() -> Iterator[Callable[[float], None]]:
    """Set the machine's clock ahead or back by seconds; it is put right at the end."""
    moved = [0.0]

    def move(seconds: float) -> None:
        moved[0] += seconds
        time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)

    yield move
    move(-moved[0])


def test_a_clock_that_jumps_ahead_destroys_nothing_and_one_set_back_stops_nothing(
    daemon: Daemon, operator: Operator, wall: Callable[[float], None]
) -> None:
    """Invariant 2: the grace is not over only because the clock says so."""
    operator.write("base:\n  checkpoints:\n    twig:\n      fork: true")
    follows(daemon, operator, "base", "twig")
    operator.write("base:", "prune: {grace: 24h}")

    def retired() -> list[str]:
        listed = ("zfs", "list", "-H", "-t", "snapshot", "-o", "name,ckptree:retired", "-r")
        lines = shell(*listed, operator.home).splitlines()
        return [line for line in lines if "@twig\t" in line and not line.endswith("\t-")]

    daemon.wait_until(lambda: len(retired()) == 1, "it is not retired")
    wall(30 * 86400.0)
    daemon.signal(signal.SIGHUP)
    daemon.wait_until(lambda: "ClockJumped" in json.dumps(daemon.status()), "no look", every=1.0)
    assert len(retired()) == 1
    wall(-60 * 86400.0)
    operator.write(below("base", "after"))
    follows(daemon, operator, "after")


def test_of_many_vms_those_that_are_edited_follow_and_one_that_fails_delays_none(
    home: str, tmp_path: Path
) -> None:
    documents = tmp_path / "vms.d"
    documents.mkdir()
    names = [f"vm{number:03}" for number in range(64)]
    many_vms(home, documents, names)
    daemon = Daemon(documents, WRITE_PATH)
    daemon.start()
    try:
        edited = names[::10]
        for name in edited:
            hooks = "hooks: {before-checkpoint: {run: [/bin/false]}}\n" if name == "vm010" else ""
            document(documents, home, name, "{base: {checkpoints: {patched: }}}", hooks)

        def taken() -> set[str]:
            text = shell("zfs", "list", "-H", "-t", "snapshot", "-o", "name", "-r", home)
            found = (line.partition("@") for line in text.splitlines())
            return {dataset.split("/")[-2] for dataset, _, node in found if node == "patched"}

        daemon.wait_until(lambda: taken() == {*edited} - {"vm010"}, "they were not taken", 5.0)
        assert "vm010" in daemon.said()
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    untouched = set(names) - set(edited)
    assert not any(f"{name}:" in daemon.said() for name in untouched)


def many_vms(home: str, documents: Path, names: Sequence[str]) -> None:
    """Make the homes of VMs with NAMES, each with the checkpoint base, as if ckptree had taken it."""
    zfs = choose("auto").zfs
    sets = []
    for name in names:
        own = f"{home}/{name}"
        marks = ["-o", f"ckptree:vm={name}"]
        shell("zfs", "create", *marks, "-o", f"ckptree:owner={this_host().host_id}", own)
        shell("zfs", "create", *marks, "-o", "ckptree:branch=1", f"{own}/b-1")
        Path("/run", own, "current").symlink_to("b-1")
        Path("/run", own, "b-1", "disk0.img").touch()
        document(documents, home, name, "{base: }")
        marked = {"ckptree:vm": name, "ckptree:node": "base", "ckptree:grade": "clean"}
        sets.append(([Snapshot(f"{own}/b-1@base")], marked))
    for first in range(0, len(sets), 50):
        zfs.snapshot_sets(sets[first : first + 50])
        zfs.hold([snapshots[0] for snapshots, _ in sets[first : first + 50]])
    base = NodeName("base")
    guids = zfs.guids([node for (node,), _ in sets])
    heads = zfs.guids([node.dataset for (node,), _ in sets])
    for ((node,), _), name in zip(sets, names, strict=True):
        journal = FileJournal(f"/run/{home}/{name}", print)
        journal.append(Confirmed(at="", by="test"))
        journal.append(Realised(at="", nodes={base: guids[node]}))
        head = heads[node.dataset]
        journal.append(
            Applied(at="", file_digest="", current=None, again=None, position=base, head=head)
        )


def document(documents: Path, home: str, name: str, checkpoints: str, more: str = "") -> None:
    """Write the document of one of many VMs."""
    text = f"vm: {name}\ndataset: {home}/{name}\ndisks: [disk0.img]\n{more}"
    (documents / f"{name}.yaml").write_text(f"{text}checkpoints: {checkpoints}\n")
