"""A host whose documents come from a repository, on real ZFS: what a revision does, and what it may not remove."""

import json
from pathlib import Path

import pytest

from reconciler import paths
from reconciler.cli.main import run
from tests.lab.conftest import Command
from tests.support.origin import Origin

_DOCUMENT = """\
vm: web
dataset: {home}
disks: [disk0.img]
prune: {{grace: 24h}}
checkpoints: {tree}
"""


class Desk:
    """Somebody who commits and types commands; RUNS is pytest's hold on what they print."""

    def __init__(self, home: str, folder: Path, runs: pytest.CaptureFixture[str]) -> None:
        self._home = home
        self._runs = runs
        self.origin = Origin(folder / "origin")
        self._settings = folder / "ckptree.yaml"
        self._settings.write_text(f"source: {{git: {{url: '{self.origin.url}'}}}}\n")

    def commits(self, tree: str) -> str:
        return self.origin.commit({"web.yaml": _DOCUMENT.format(home=self._home, tree=tree)})

    def types(self, *words: str) -> tuple[int, str]:
        code = run(["--config", str(self._settings), *words])
        shown = self._runs.readouterr()
        return code, shown.out + shown.err

    @property
    def journal(self) -> list[dict[str, object]]:
        file = Path(f"/run/{self._home}/.ckptree/journal.jsonl")
        return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_revision_that_was_pushed_over_another_removes_nothing_until_it_is_approved(
    pool: str,
    tmp_path: Path,
    command: Command,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    monkeypatch.delenv("CKPTREE_VMS", raising=False)
    home = f"{pool}/web"
    desk = Desk(home, tmp_path, capsys)

    first = desk.commits("{base: {checkpoints: {old: }}}")
    desk.types("fetch")
    desk.types("init", "web")
    Path(f"/run/{home}/current/disk0.img").write_bytes(b"disk")
    code, text = desk.types("apply")
    assert code == 0, text
    begun = [record for record in desk.journal if record["event"] == "Begun"]
    applied = [record for record in desk.journal if record["event"] == "Applied"]
    assert begun[-1]["revision"] == applied[-1]["revision"] == first
    assert json.loads(desk.types("status", "--json")[1])["vms"][0]["observed_revision"] == first
    assert f"{first[:12]}  applied" in desk.types("status", "--revision")[1]

    desk.commits("{base: {checkpoints: {old: {checkpoints: {new: }}}}}")
    desk.types("fetch")
    code, text = desk.types("apply")
    assert code == 0, text

    desk.origin.git("reset", "--quiet", "--hard", first)
    other = desk.commits("{base: {checkpoints: {new: }}}")
    desk.types("fetch")
    code, text = desk.types("plan")
    assert (code, "Restrained" in text) == (3, True), text
    assert f"ckptree approve --revision {other[:12]}" in " ".join(text.split())
    assert desk.types("apply")[0] == 3
    old = ("zfs", "get", "-Ho", "value", "ckptree:retired", f"{home}/b-1@old")
    assert command(*old).strip() == "-"
    assert f"{other[:12]}  waiting" in desk.types("status", "--revision")[1]

    assert desk.types("approve", "--revision", other)[0] == 0
    code, text = desk.types("apply")
    assert command(*old).startswith("20"), text
