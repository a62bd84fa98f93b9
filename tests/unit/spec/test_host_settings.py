"""The host's own settings: each fault with its place and what to write instead."""

from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.spec.findings import SpecInvalid
from reconciler.spec.host import load_settings
from reconciler.spec.settings import HostSettings


def settings(folder: Path, text: str) -> HostSettings:
    file = folder / "ckptree.yaml"
    file.write_text(text)
    return load_settings(file)


def test_all_of_them_are_optional(tmp_path: Path) -> None:
    found = settings(tmp_path, "")
    assert (found.zfs, found.vms, found.group_wait) == ("auto", None, timedelta(minutes=1))


def test_they_are_read(tmp_path: Path) -> None:
    found = settings(tmp_path, "vms: /etc/vms\nzfs: command\ngroup-wait: 2m\n")
    assert (found.zfs, found.vms, found.group_wait) == (
        "command",
        Path("/etc/vms"),
        timedelta(minutes=2),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("group-wiat: 2m", "1:1: unknown key 'group-wiat' (write 'group-wait')"),
        ("group-wait: soon", "1:13: 'soon' is no duration (write a number with a unit, for example 60s or 2m)"),
        ("group-wait: 0s", "1:13: '0s' is too short for 'group-wait' (write at least 1s)"),
        ("group-wait: 2h", "1:13: '2h' is longer than any guest is held frozen (write at most 1h)"),
        ("zfs: magic", "1:6: 'magic' is no way to write ZFS (write one of auto, pyzfs, command)"),
        ("vms: here", "1:6: 'here' is a relative path (write the whole path)"),
    ],
)  # fmt: skip
def test_a_fault_says_what_to_write_instead(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SpecInvalid) as caught:
        settings(tmp_path, f"{text}\n")
    assert [
        str(finding).removeprefix(f"{tmp_path}/ckptree.yaml:") for finding in caught.value.findings
    ] == [says]
