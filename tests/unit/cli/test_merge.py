"""`ckptree plan --diff` as a pipeline of a merge request runs it: no host, no ZFS, exit codes as those of plan."""

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.cli.main import run
from reconciler.plan.exported import observation_json
from tests.support.repository import Repository
from tests.support.world import Nested, World, desired

DOCUMENT = """\
vm: web
dataset: tank/vm/web
disks: [disk0.img]
checkpoints:
  base:
"""
Call = Callable[..., int]


def export(host: str = "bsd07") -> str:
    world = World()
    tree: Nested = {"base": {}}
    world.apply(desired(tree))
    seen = replace(world.observe(desired(tree)), host=host)
    return json.dumps({"trees": [{"observation": observation_json(seen, world.now)}]})


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.commit({"vms/web.yaml": DOCUMENT})
    made.git("switch", "--quiet", "--create", "work")
    (tmp_path / "seen.json").write_text(export())
    return made


@pytest.fixture
def call(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    for name in [name for name in os.environ if name.startswith("CKPTREE_")]:
        monkeypatch.delenv(name)

    def called(*more: str, observation: str | None = None) -> int:
        words = ["--repository", str(repository.folder), "--path", "vms"]
        seen = observation or str(tmp_path / "seen.json")
        return run(["plan", "--diff", "main..work", *words, "--observation", seen, *more])

    return called


def test_no_difference_is_exit_code_0(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call() == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("### ckptree: merging `work` into `main`\n\nChanges nothing. ")
    assert shown.err == ""


def test_a_change_is_exit_code_2_and_told_as_markdown(
    call: Call, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit({"vms/web.yaml": f"{DOCUMENT}    checkpoints:\n      patched:\n"})
    assert call() == 2
    out = capsys.readouterr().out
    assert "| **web** on bsd07 | - | - | patched | - | - |" in out
    assert "Planned for the state of bsd07 at 2026-11-23 12:00 UTC" in out


def test_what_only_waits_is_exit_code_3(
    call: Call, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit({"vms/web.yaml": f"{DOCUMENT}  another:\n"})
    assert call() == 3
    assert "**ParentNotCurrent** (`vms/web.yaml:6`)" in capsys.readouterr().out


def test_a_fault_is_exit_code_1_with_its_place_in_the_repository(
    call: Call, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit({"vms/web.yaml": f"{DOCUMENT}colour: red\n"})
    assert call() == 1
    out = capsys.readouterr().out
    assert "- `vms/web.yaml:6:1`: unknown key `colour`" in out
    assert "| **web** | - | - | - | - | faulty |" in out


def test_released_and_new_vms_are_told(
    call: Call, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit({"vms/web.yaml": None, "vms/db.yaml": DOCUMENT.replace("web", "db")})
    assert call() == 2
    out = capsys.readouterr().out
    assert "<b>web</b>: released" in out
    assert "<b>db</b>: new" in out


def test_json_and_the_selection_of_a_vm(
    call: Call, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    head = repository.commit({"vms/db.yaml": DOCUMENT.replace("web", "db")})
    assert call("--json", "db") == 2
    body = json.loads(capsys.readouterr().out)
    assert [vm["vm"] for vm in body["vms"]] == ["db"]
    assert body["commits"]["head"] == head
    assert body["observed"] == {"bsd07": "2026-11-23T12:00:00Z"}


def test_the_observation_may_come_on_the_standard_input_and_from_several_hosts(
    call: Call,
    repository: Repository,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository.commit({"vms/web.yaml": f"{DOCUMENT}host: bsd08\n"})
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(export("bsd08").encode())))
    assert call("--observation", str(tmp_path / "seen.json"), observation="-") == 2
    out = capsys.readouterr().out
    assert "<b>web</b> on bsd08" in out
    assert "bsd07 at 2026-11-23 12:00 UTC, bsd08 at" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["plan", "--diff", "a..b"], "--observation FILE"),
        (["plan", "--diff", "a", "--observation", "x"], "write REV1..REV2"),
        (["plan", "--diff", "a..b", "--observation", "/nowhere"], "/nowhere: cannot be read"),
        (["plan", "--diff", "a..b", "--observation", "x", "-o", "y"], "exclude each other"),
        (["plan", "--diff", "a..b", "--observation", "x", "--json", "--format", "markdown"], "exclude each other"),
        (["plan", "--observation", "x"], "belong to --diff"),
        (["plan", "--path", "x"], "belong to --diff"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_one_sentence(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert complaint in shown.err
    assert shown.err.count("\n") == 1


def test_an_unknown_vm_and_a_broken_observation_are_one_sentence(
    call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("wbe") == 1
    assert "describes VM wbe" in capsys.readouterr().err
    (tmp_path / "seen.json").write_text('{"trees":\n[}')
    assert call() == 1
    assert "seen.json:2:2: this is not JSON" in capsys.readouterr().err
    (tmp_path / "seen.json").write_bytes(b"\xff")
    assert call() == 1
    assert "is not UTF-8 text" in capsys.readouterr().err
