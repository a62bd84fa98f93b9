"""The host's own settings: what they mean, and each fault with its place and what to write instead."""
# ruff: noqa: E501 - a fault and its sentence are one line

import re
from datetime import time, timedelta
from pathlib import Path

import pytest

from reconciler.errors import CkptreeError
from reconciler.model.windows import Window, Windows
from reconciler.spec.findings import SpecInvalid
from reconciler.spec.host import load_settings
from reconciler.spec.settings import GitSource, HostSettings, Notify, Signers

SAMPLE = Path(__file__).parents[3] / "examples/host/ckptree.yaml"


def settings(folder: Path, text: str) -> HostSettings:
    file = folder / "ckptree.yaml"
    file.write_text(text)
    return load_settings(file)


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(SpecInvalid) as caught:
        settings(folder, text)
    return [str(found).removeprefix(f"{folder}/ckptree.yaml:") for found in caught.value.findings]


def test_all_of_them_are_optional(tmp_path: Path) -> None:
    assert settings(tmp_path, "") == HostSettings()


def test_those_that_are_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(CkptreeError, match="the settings are not there"):
        load_settings(tmp_path / "none.yaml")


def test_they_are_read(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        """\
vms: /etc/vms
zfs: command
group-wait: 2m
interval: 30s
listen: 127.0.0.1:8470
notify: {syslog: local3, command: [/bin/tell, me], webhook: https://a.example/b, revision: [/bin/status]}
windows: {pause: [{days: [sat], from: 22:00, until: 06:00}], zone: Europe/Berlin}
""",
    )
    night = Window(days=frozenset({5}), start=time(22), end=time(6), zone="Europe/Berlin")
    assert found == HostSettings(
        vms=Path("/etc/vms"),
        zfs="command",
        group_wait=timedelta(minutes=2),
        interval=timedelta(seconds=30),
        listen=("127.0.0.1", 8470),
        notify=Notify(
            facility="local3",
            command=("/bin/tell", "me"),
            webhook="https://a.example/b",
            revision=("/bin/status",),
        ),
        windows=Windows(paused=(night,)),
    )


def test_a_repository_is_read(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        """\
source:
  git:
    url: git@git.example.org:vms.git
    branch: release/7
    path: hosts/bsd07
    every: 10s
    verify: {ssh: /etc/signers, gpg: /etc/gnupg}
    destructive: {gpg: /etc/gnupg}
""",
    )
    assert found.source == GitSource(
        url="git@git.example.org:vms.git",
        branch="release/7",
        path="hosts/bsd07",
        every=timedelta(seconds=10),
        verify=Signers(ssh=Path("/etc/signers"), gpg=Path("/etc/gnupg")),
        destructive=Signers(gpg=Path("/etc/gnupg")),
    )


def test_most_of_a_repository_has_defaults(tmp_path: Path) -> None:
    found = settings(tmp_path, "source: {git: {url: https://git.example.org/vms.git}}\n")
    assert found.source == GitSource(url="https://git.example.org/vms.git")


def test_nobody_is_told_where_that_is_said(tmp_path: Path) -> None:
    assert settings(tmp_path, "notify: {syslog: none}\n").notify == Notify(facility=None)


def test_the_sample_says_the_defaults() -> None:
    assert load_settings(SAMPLE) == HostSettings()


def test_what_is_commented_out_in_the_sample_is_valid(tmp_path: Path) -> None:
    whole = re.sub(r"(?m)^#(?=\S|  )", "", SAMPLE.read_text())
    found = settings(tmp_path, whole.replace("vms: /usr", "#"))
    assert found.source is not None
    assert found.source.verify is not None
    assert found.listen == ("127.0.0.1", 8470)
    assert found.notify.revision
    assert found.windows.paused
    assert faults(tmp_path, whole)[0].endswith(
        "(write only one of them: the documents come from one place)"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("group-wiat: 2m", "1:1: unknown key 'group-wiat' (write 'group-wait')"),
        ("group-wait: soon", "1:13: 'soon' is not a valid duration (write a number with a unit, largest unit first: 90s, 30m, 1h30m, 24h, 7d, 2w)"),
        ("group-wait: 0s", "1:13: '0s' is too short for 'group-wait' (write at least 1s)"),
        ("group-wait: 2h", "1:13: '2h' is too long for 'group-wait' (write at most 1h)"),
        ("interval: 1s", "1:11: '1s' is too short for 'interval' (write at least 10s)"),
        ("interval: 2d", "1:11: '2d' is too long for 'interval' (write at most 1d)"),
        ("zfs: magic", "1:6: 'magic' is no value of 'zfs' (write auto, pyzfs or command)"),
        ("vms: here", "1:6: 'here' is not a valid absolute path (write the whole path, from the first '/' on)"),
        ("- list", "1:1: the document must be a mapping, not a list (write 'key: value' lines, for example 'zfs: auto')"),
        ("vms: /a\nsource: {git: {url: /b}}", "2:1: 'vms' and 'source' exclude each other (write only one of them: the documents come from one place)"),
        ("source:", "1:1: 'source' is empty (write 'git:' with 'url: ...' below it)"),
        ("source: {git: {branch: x}}", "1:15: the key 'url' is missing (write 'url: https://git.example.org/vms.git')"),
        ("source: {git: {url: ext::sh -c id}}", "1:21: 'ext::sh -c id' is not a valid address of a repository (write for example https://git.example.org/vms.git, ssh://git@git.example.org/vms.git or /srv/vms.git)"),
        ("source: {git: {url: http://a.example/b}}", "1:21: anybody on the way can change what comes from 'http://a.example/b' (write https:// or ssh://, or add 'verify')"),
        ("source: {git: {url: /a, branch: a..b}}", "1:33: 'a..b' is not a valid name of a branch (write the name of a branch, for example main)"),
        ("source: {git: {url: /a, path: ../b}}", "1:31: '../b' leads out with '..' (write it without)"),
        ("source: {git: {url: /a, every: 1s}}", "1:32: '1s' is too short for 'every' (write at least 5s)"),
        ("source: {git: {url: /a, verify: {}}}", "1:33: this is not a valid set of signers (write 'ssh: FILE' or 'gpg: FOLDER' below it, or both)"),
        ("source: {git: {url: /a, verify: {ssh: signers}}}", "1:39: 'signers' is not a valid absolute path (write the whole path, from the first '/' on)"),
        ("listen: 0.0.0.0:80", "1:9: '0.0.0.0:80' is not a valid address of this host itself (write 127.0.0.1 and a port, for example 127.0.0.1:8470)"),
        ("listen: 127.0.0.1:99999", "1:9: '127.0.0.1:99999' is not an address of this host itself with a port (write for example 127.0.0.1:8470)"),
        ("notify: {syslog: mail}", "1:18: 'mail' is no value of 'syslog' (write daemon, local0, local1, local2, local3, local4, local5, local6, local7 or none)"),
        ("notify: {command: [tell]}", "1:20: 'tell' is not an absolute path (write the whole path of the program)"),
        ("notify: {webhook: http://chat.example.org/}", "1:19: 'http://chat.example.org/' is not a valid address (write an address that begins with https://, for example https://chat.example.org/hooks/4711)"),
        ("windows: {zone: Mars/Olympus}", "1:17: 'Mars/Olympus' is no time zone that this host knows (write one of the IANA's, for example Europe/Berlin)"),
    ],
)  # fmt: skip
def test_a_fault_says_what_to_write_instead(tmp_path: Path, text: str, says: str) -> None:
    assert faults(tmp_path, f"{text}\n") == [says]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    assert len(faults(tmp_path, "zfs: magic\nlisten: here\ninterval: 1s\n")) == 3


def test_settings_that_everybody_may_write_to_are_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "ckptree.yaml").touch()
    (tmp_path / "ckptree.yaml").chmod(0o666)
    assert faults(tmp_path, "zfs: auto\n") == [
        "1:1: everybody may write to this file (take that right away with chmod o-w)"
    ]
