"""The commands where the documents come from a repository, as a person meets them. Real git."""

import json
from pathlib import Path

import pytest

from reconciler import paths
from reconciler.cli.main import run
from tests.support.origin import Origin, SshKey, document


class Desk:
    """A host with settings that name a repository, and somebody who types commands."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.origin = Origin(folder / "origin")
        self.settings = folder / "ckptree.yaml"
        self._capsys = capsys
        self.set_up()

    def set_up(self, more: str = "", notify: str = "") -> None:
        self.settings.write_text(f"source:\n  git:\n    url: {self.origin.url}\n{more}{notify}")

    def types(self, *words: str) -> tuple[int, str, str]:
        code = run(["--config", str(self.settings), *words])
        shown = self._capsys.readouterr()
        return code, shown.out, shown.err


@pytest.fixture
def desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    monkeypatch.setattr(paths, "STATE", tmp_path / "state")
    monkeypatch.delenv("CKPTREE_VMS", raising=False)
    return Desk(tmp_path, capsys)


def test_before_the_first_fetch_every_command_says_what_to_do(desk: Desk) -> None:
    code, _, error = desk.types("plan")
    assert (code, "is in force yet (run 'ckptree fetch')" in error) == (1, True)


def test_the_settings_can_be_checked_before_the_first_fetch(desk: Desk) -> None:
    code, text, _ = desk.types("validate")
    assert code == 0
    assert "nothing is in force yet, so only the settings were checked" in text
    assert json.loads(desk.types("validate", "--json")[1])["valid"] is True


def test_fetch_puts_the_newest_revision_in_force(desk: Desk) -> None:
    commit = desk.origin.commit({"web.yaml": document("web")})
    code, text, error = desk.types("fetch")
    assert (code, error) == (0, "")
    assert text == f"{desk.origin.url} (main): revision {commit[:12]} is in force\n"
    assert "is still the newest one" in desk.types("fetch")[1]
    code, text, _ = desk.types("validate")
    assert (code, text) == (0, "1 valid VM, 0 faults\n")


def test_fetch_says_what_keeps_it_from_the_newest_revision(desk: Desk, tmp_path: Path) -> None:
    key = SshKey(tmp_path, "ops")
    desk.set_up(f"    verify: {{ssh: {key.signers}}}\n")
    commit = desk.origin.commit({"web.yaml": document("web")})
    code, text, error = desk.types("fetch")
    assert (code, text) == (1, "")
    assert error == (
        f"ckptree: {desk.origin.url} (main): commit {commit[:12]} is refused: commit {commit[:12]} is not signed"
        " with SSH; nothing is in force yet\n"
    )


def test_fetch_needs_a_repository(desk: Desk) -> None:
    desk.settings.write_text("zfs: auto\n")
    code, _, error = desk.types("fetch")
    assert (code, "write 'source:' in ckptree.yaml" in error) == (1, True)


def test_vms_on_the_command_line_stand_for_the_repository(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "vms.d").mkdir(mode=0o755)
    (tmp_path / "vms.d" / "web.yaml").write_text(document("web"))
    code, text, _ = desk.types("--vms", str(tmp_path / "vms.d"), "validate")
    assert (code, text) == (0, "1 valid VM, 0 faults\n")


def test_faults_of_settings_and_documents_are_shown_together(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "vms.d").mkdir(mode=0o755)
    (tmp_path / "vms.d" / "web.yaml").write_text("vm: web\n")
    desk.settings.write_text("zfs: magic\n")
    code, text, _ = desk.types("--vms", str(tmp_path / "vms.d"), "validate")
    assert code == 1
    assert f"{desk.settings}:1:6: 'magic' is no value of 'zfs'" in text
    assert "web.yaml:1:1: the key 'dataset' is missing" in text


def test_settings_can_be_checked_by_name(desk: Desk) -> None:
    assert desk.types("validate", str(desk.settings))[0] == 0
    desk.settings.write_text("listen: 0.0.0.0:80\n")
    code, text, _ = desk.types("validate", str(desk.settings))
    assert (code, f"{desk.settings}:1:9: " in text) == (1, True)


def test_what_became_of_revisions_is_shown(desk: Desk, tmp_path: Path) -> None:
    key = SshKey(tmp_path, "ops")
    desk.set_up(f"    verify: {{ssh: {key.signers}}}\n")
    good = desk.origin.commit({"web.yaml": document("web")}, key.key)
    desk.types("fetch")
    bad = desk.origin.commit({"dns.yaml": document("dns")})
    desk.types("fetch")
    code, text, _ = desk.types("status", "--revision")
    assert code == 1
    lines = text.splitlines()
    assert lines[0] == f"{desk.origin.url} (main): revision {good[:12]} is in force"
    assert lines[1].startswith(f"commit {bad[:12]} is refused: ")
    assert lines[2].startswith(f"  {bad[:12]}  refused     20")
    body = json.loads(desk.types("status", "--revision", bad[:9], "--json")[1])
    assert (body["in_force"], body["revisions"][0]["state"]) == (good, "refused")
    code, _, error = desk.types("status", "--revision", "123456")
    assert (code, "nothing is known of revision 123456" in error) == (1, True)


def test_a_program_is_told_of_a_refused_revision(desk: Desk, tmp_path: Path) -> None:
    key = SshKey(tmp_path, "ops")
    (tmp_path / "tell").write_text(f'#!/bin/sh\nprintf "%s|" "$@" >> {tmp_path}/told\n')
    (tmp_path / "tell").chmod(0o755)
    desk.set_up(
        f"    verify: {{ssh: {key.signers}}}\n", f"notify: {{revision: [{tmp_path}/tell, bsd07]}}\n"
    )
    bad = desk.origin.commit({"web.yaml": document("web")})
    desk.types("fetch")
    desk.types("fetch")
    assert (tmp_path / "told").read_text() == (
        f"bsd07|{bad}|refused|commit {bad[:12]} is not signed with SSH|"
    )


def test_a_rewound_history_is_approved_by_naming_the_commit(desk: Desk) -> None:
    first = desk.origin.commit({"web.yaml": document("web")})
    second = desk.origin.commit({"dns.yaml": document("dns")})
    desk.types("fetch")
    assert "waits for approval" in desk.types("approve", "--revision", second)[2]
    desk.origin.git("reset", "--quiet", "--hard", first)
    assert f"does not follow from {second[:12]}" in desk.types("fetch")[1]
    assert "nothing is removed or restored: " in desk.types("status", "--revision")[1]
    code, text, _ = desk.types("approve", "--revision", first[:12])
    assert (code, text) == (
        0,
        f"approved what revision {first[:12]} removes; the next apply acts on it\n",
    )
    assert "nothing is removed or restored" not in desk.types("status", "--revision")[1]


@pytest.mark.parametrize("words", [(), ("web",), ("web", "abcdef", "--revision", "abcdef")])
def test_an_approval_names_either_a_removal_or_a_revision(
    desk: Desk, words: tuple[str, ...]
) -> None:
    code, _, error = desk.types("approve", *words)
    assert (code, error) == (1, "ckptree: write either VM and DIGEST, or --revision COMMIT\n")


def test_doctor_tells_where_the_documents_are_from(desk: Desk) -> None:
    commit = desk.origin.commit({"web.yaml": document("web")})
    desk.types("fetch")
    desk.origin.folder.rename(desk.origin.folder.with_name("moved"))
    assert f"revision {commit[:12]} is in force" in desk.types("doctor")[1]
    desk.types("fetch")
    assert "BAD source" in desk.types("doctor")[1]
