"""The command as a person meets it: exit codes, one sentence for each error, and never a traceback."""

import json
from pathlib import Path

import pytest

from reconciler.cli.main import run

VALID = """\
vm: web
dataset: tank/vm/web
disks: [disk0.img]
checkpoints:
  base:
"""


@pytest.fixture
def vms(tmp_path: Path) -> Path:
    folder = tmp_path / "vms.d"
    folder.mkdir(mode=0o755)
    (folder / "web.yaml").write_text(VALID)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["plan", "--nonsense"],
        ["approve", "web"],
        ["take", "web"],
        ["take", "web", "no-such-node"],
        ["take", "web", "base", "--automatic"],
        ["take", "web", "base", "--keep", "1d"],
        ["take", "web", "--automatic", "--keep", "soon"],
        ["--zfs", "magic", "plan"],
        ["--vms", "/nowhere", "plan"],
        ["--config", "/nowhere", "plan"],
        ["plan", "wbe"],
        ["apply", "no-such-plan.json"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_one_sentence_and_exit_code_1(
    arguments: list[str],
    vms: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CKPTREE_VMS", str(vms))
    assert run(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("ckptree: ")
    assert shown.err.count("\n") == 1


def test_a_near_miss_of_a_vms_name_is_suggested(
    vms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["--vms", str(vms), "plan", "wbe"])
    assert "(write web)" in capsys.readouterr().err


def test_a_bug_is_told_without_a_traceback(
    vms: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.delenv("CKPTREE_DEBUG", raising=False)
    monkeypatch.setattr("reconciler.spec.load.load_path", broken)
    assert run(["--vms", str(vms), "plan"]) == 1
    assert "internal error (ZeroDivisionError: oops)" in capsys.readouterr().err


def test_help_and_version_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    assert run(["--version"]) == 0
    assert "ckptree 0.1.0" in capsys.readouterr().out


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    from reconciler.cli.main import _COMMANDS

    for name in _COMMANDS:
        assert run([name, "--help"]) == 0
        assert f"ckptree {name}" in capsys.readouterr().out


def test_validate_tells_every_fault_in_the_form_asked_for(
    vms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (vms / "bad.yaml").write_text(VALID.replace("web", "other") + "colour: red\n")
    assert run(["--vms", str(vms), "validate"]) == 1
    text = capsys.readouterr().out
    assert "bad.yaml:6:1: unknown key 'colour'" in text
    assert "1 valid VM, 1 fault" in text
    assert run(["--vms", str(vms), "validate", "--format", "json"]) == 1
    body = json.loads(capsys.readouterr().out)
    assert (body["valid"], body["vms"]) == (False, ["web"])
    assert body["findings"][0]["line"] == 6
    assert run(["--vms", str(vms), "validate", "--format", "github"]) == 1
    assert capsys.readouterr().out.startswith("::error file=")


def test_the_examples_are_valid(capsys: pytest.CaptureFixture[str]) -> None:
    examples = Path(__file__).parents[3] / "examples"
    assert run(["validate", str(examples), str(examples / "five")]) == 0
    assert "9 valid VMs, 0 faults" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour: red\n", ":1:1: unknown key 'colour'"),
        ("zfs: magic\n", ":1:6: 'magic' is no value of 'zfs'"),
        ("vms: relative\n", ":1:6: 'relative' is not a valid absolute path"),
        ("zfs: no\n", ":1:6: 'no' is no value of 'zfs'"),
        ("- list\n", ":1:1: the document must be a mapping"),
        ("zfs: [\n", ":"),
    ],
)
def test_faults_of_the_hosts_settings_are_told_with_their_position(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ckptree.yaml"
    file.write_text(text)
    assert run(["--config", str(file), "status"]) == 1
    assert f"{file}{complaint}" in capsys.readouterr().err


def test_the_hosts_settings_name_the_documents(
    vms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CKPTREE_VMS", raising=False)
    file = tmp_path / "ckptree.yaml"
    file.write_text(f"vms: {vms}\n")
    assert run(["--config", str(file), "validate"]) == 0
    assert "1 valid VM" in capsys.readouterr().out
