"""`ckptree explain` as a person meets it, on a host without the VM's pool."""

import json
from pathlib import Path

import pytest

from reconciler.cli.main import run
from reconciler.plan.exported import read_observations

DOCUMENT = """\
vm: web
dataset: no-such-pool/vm/web
disks: [disk0.img]
checkpoints:
  base:
    checkpoints:
      patched:
"""


@pytest.fixture
def vms(tmp_path: Path) -> str:
    folder = tmp_path / "vms.d"
    folder.mkdir(mode=0o755)
    (folder / "web.yaml").write_text(DOCUMENT)
    return str(folder)


def test_a_vm_and_a_node_are_explained_with_their_place_in_the_file(
    vms: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--vms", vms, "explain", "web"]) == 0
    assert "web.yaml:1 describes it, with 2 checkpoints." in _words(capsys)
    assert run(["--vms", vms, "explain", "web", "patched"]) == 0
    assert "web.yaml:7 has it below base." in _words(capsys)


def _words(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_json_has_the_same(vms: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--vms", vms, "explain", "web", "patched", "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["version"], body["vm"], body["node"]["name"]) == (1, "web", "patched")
    assert body["says"][0].endswith("web.yaml:7 has it below base.")
    assert body["obstacles"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["web", "pached"], "(write patched)"),
        (["web", "zzz"], "('ckptree tree web' shows which there are)"),
        (["web", "bad/name"], "'bad/name'"),
        (["wbe"], "(write web)"),
        ([], "Missing argument 'VM'"),
    ],
)
def test_what_is_unknown_is_one_sentence_with_what_was_meant(
    arguments: list[str], complaint: str, vms: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--vms", vms, "explain", *arguments]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert complaint in shown.err
    assert shown.err.count("\n") == 1


def test_the_observation_in_the_trees_json_is_what_plan_diff_reads(
    vms: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--vms", vms, "tree", "--json"]) == 0
    (seen,) = read_observations(capsys.readouterr().out, "tree.json")
    assert seen.observation.vm == "web"
    assert seen.observation.reading.root == "no-such-pool/vm/web"
