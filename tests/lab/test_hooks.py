"""Hooks on real ZFS: real programs around a capture and a restore, one of which kills ckptree between the two."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.main import run
from tests.lab.operator import Operator, shell
from tests.lab.test_rows import new_vm

KEYS = ("before-checkpoint", "after-checkpoint", "before-restore", "after-restore")


@pytest.fixture
def vm(dataset: str, tmp_path: Path) -> Iterator[Operator]:
    documents = tmp_path / "vms.d"
    documents.mkdir()
    yield new_vm(f"{dataset}/web", documents, "command", ())
    held = f"zfs list -H -t snapshot -o name,userrefs -r {dataset} | awk '$2 > 0 {{print $1}}'"
    shell("sh", "-c", f"{held} | xargs -r zfs release ckptree")


def hooks(tmp_path: Path) -> str:
    """Make a program that notes what it was told, and the line of a document that runs it at every occasion."""
    program = tmp_path / "hook"
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$CKPTREE_HOOK $CKPTREE_NODES $CKPTREE_GUEST $CKPTREE_RESULT" >> {tmp_path}/said\n'
        f"test ! -e {tmp_path}/$CKPTREE_HOOK.kills || {{ rm {tmp_path}/$CKPTREE_HOOK.kills; kill -9 $PPID; }}\n"
        f"test ! -e {tmp_path}/$CKPTREE_HOOK.fails || {{ echo the database is busy >&2; exit 3; }}\n"
    )
    program.chmod(0o755)
    each = ", ".join(f"{key}: {{run: [{program}]}}" for key in KEYS)
    return f"hooks: {{{each}}}"


def said(tmp_path: Path) -> list[str]:
    """What the hooks were told since this was last asked."""
    path = tmp_path / "said"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.strip() for line in lines]


def killed(vm: Operator) -> None:
    """Apply in a child, which a hook kills."""
    child = os.fork()
    if child == 0:
        os._exit(run(["--vms", str(vm.folder), "--zfs", "command", "apply"]))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def test_hooks_around_a_capture_and_a_restore(vm: Operator, tmp_path: Path) -> None:
    line = hooks(tmp_path)
    with vm.running():
        vm.write("base:", line)
        assert f"runs {tmp_path}/hook first" in " ".join(vm.ckptree("plan").out.split())
        vm.apply()
        assert said(tmp_path) == [
            "before-checkpoint base running", "after-checkpoint base running done",
        ]  # fmt: skip
        assert vm.get("b-1@base", "ckptree:grade") == "quiesced"

        (tmp_path / "before-checkpoint.fails").touch()
        vm.write("base: {checkpoints: {next: }}", line)
        outcome = vm.apply(code=1)
        assert "not taken, because the hook before-checkpoint failed" in outcome.err
        assert "exit code 3: the database is busy" in outcome.err
        assert said(tmp_path)[-1] == "after-checkpoint next running failed"
        assert vm.snapshots() == {"b-1@base"}
        (tmp_path / "before-checkpoint.fails").unlink()

        (tmp_path / "before-checkpoint.kills").touch()
        killed(vm)
        assert said(tmp_path) == ["before-checkpoint next running"]
        assert "HookOwed" in vm.ckptree("plan").out
        vm.apply()
        assert said(tmp_path) == [
            "after-checkpoint next running failed",
            "before-checkpoint next running", "after-checkpoint next running done",
        ]  # fmt: skip
        assert vm.held("b-1@next")

    vm.guest_writes("after next")
    vm.write("base: {checkpoints: {next: }}", line, "current: base")
    (tmp_path / "after-restore.kills").touch()
    killed(vm)
    assert said(tmp_path) == ["before-restore base off", "after-restore base off done"]
    assert vm.link == "b-2"
    vm.apply()
    assert said(tmp_path) == ["after-restore base off failed"]
    assert vm.guest_sees() == "installed"
    events = vm.ckptree("events", "web").out
    for text in (
        "captured base", "the hook before-checkpoint failed", "captured next", "restored the guest from next to base",
    ):  # fmt: skip
        assert text in events
    assert vm.ckptree("plan").out == "web: nothing to do\n"
