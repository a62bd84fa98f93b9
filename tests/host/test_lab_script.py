"""script/lab seen from outside: status, output, quoting, folders, disks, limits, leftovers."""

from __future__ import annotations

import ast
import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
LAB = str(CHECKOUT / "script" / "lab")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every lab of a test keep its scratch files in a folder where the test can look."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    return place


def lab(*arguments: str, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    """Run script/lab to its end."""
    return subprocess.run(
        [LAB, "--timeout", "120", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
    )


def start(*arguments: str, ready: str) -> subprocess.Popen[str]:
    """Start script/lab and wait for a line of its output."""
    process = subprocess.Popen(
        [LAB, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == f"{ready}\n"
    return process


def machines(scratch: Path) -> list[str]:
    """List the processes of this host whose command line names the scratch folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if bytes(scratch) in words:
            found.append(words.decode())
    return found


def assert_nothing_left(scratch: Path) -> None:
    deadline = time.monotonic() + 5
    while machines(scratch) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert machines(scratch) == []


def test_status_output_and_errors_come_out_as_they_are(scratch: Path) -> None:
    # The background process holds both pipes open for long after the command's end.
    program = (
        r"printf 'a\r\nb\n\001\377'; echo oops >&2; sleep 1000 & echo more >/dev/stderr; exit 42"
    )
    result = subprocess.run([LAB, "bash", "-c", program], capture_output=True, check=False)
    assert (result.returncode, result.stdout) == (42, b"a\r\nb\n\001\377")
    assert result.stderr == b"oops\nmore\n"
    assert list(scratch.iterdir()) == []


def test_a_large_output_and_a_signal() -> None:
    program = "import os, sys; print('x' * 9_999_999, flush=True); os.kill(os.getpid(), 9)"
    result = lab("python", "-c", program)
    assert (result.returncode, result.stdout == "x" * 9_999_999 + "\n") == (137, True)
    assert result.stderr == ""


def test_arguments_and_variables_arrive_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CKPTREE_NOTE", "two words\n'")
    monkeypatch.setenv("SECRET", "stays outside")
    arguments = ["", " a  b ", "$HOME `id` \\", "'\"", "*", "new\nline", "ä€", "--zfs"]
    program = (
        "import os, sys; print((sys.argv[1:], os.environ['CKPTREE_NOTE'], 'SECRET' in os.environ))"
    )
    result = lab("--", "python", "-c", program, *arguments)
    assert ast.literal_eval(result.stdout) == (arguments, "two words\n'", False)


def test_the_directory_is_the_callers_and_stays_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "my folder"
    folder.mkdir()
    (folder / "here").write_text("found\n")
    result = lab("sh", "-c", "pwd; cat here; echo lost >here; touch new", cwd=folder)
    assert result.stdout == f"{folder}\nfound\n"
    assert [(file.name, file.read_text()) for file in folder.iterdir()] == [("here", "found\n")]


def test_the_folder_for_results(tmp_path: Path) -> None:
    folder = tmp_path / "a, b"
    folder.mkdir()
    (folder / "input").write_text("ping")
    result = lab(
        "--out",
        str(folder),
        "sh",
        "-c",
        'sed s/i/o/ "$CKPTREE_LAB_OUT/input" >"$CKPTREE_LAB_OUT/output"',
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert (folder / "output").read_text() == "pong"


def test_the_time_limit_ends_a_lab_with_a_message(scratch: Path) -> None:
    result = lab("--timeout", "8", "sleep", "1000")
    assert (result.returncode, result.stdout) == (124, "")
    assert "the time limit of 8 s was reached" in result.stderr
    assert list(scratch.iterdir()) == []
    assert_nothing_left(scratch)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_lab_leaves_nothing(scratch: Path, number: signal.Signals) -> None:
    process = start("sh", "-c", "echo up; sleep 1000", ready="up")
    process.send_signal(number)
    _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (128 + number, "")
    assert list(scratch.iterdir()) == []
    assert_nothing_left(scratch)


def test_a_killed_lab_leaves_no_process(scratch: Path) -> None:
    process = start("sh", "-c", "echo up; sleep 1000", ready="up")
    process.kill()
    process.communicate(timeout=10)
    assert_nothing_left(scratch)


def test_a_disk_survives_a_power_cut(tmp_path: Path) -> None:
    disk = tmp_path / "disk, one.img"
    with disk.open("wb") as file:
        file.truncate(128 << 20)
    make = 'zpool create -m /data tank "$CKPTREE_LAB_DISK" && echo kept >/data/note && zpool sync'
    cut = "echo b >/proc/sysrq-trigger; sleep 100"
    first = lab("--disk", str(disk), "sh", "-c", f"{make} && {cut}")
    assert first.returncode == 125, first.stderr
    assert "without a status" in first.stderr
    second = lab(
        "--disk", str(disk), "sh", "-c", "zpool import tank && cat /data/note && zpool export tank"
    )
    assert (second.returncode, second.stdout) == (0, "kept\n"), second.stderr


def test_two_labs_with_two_versions_side_by_side() -> None:
    labs = [
        subprocess.Popen(
            [LAB, "--zfs", version, "zfs", "version"], stdout=subprocess.PIPE, text=True
        )
        for version in ("2.1", "2.3")
    ]
    outputs = [process.communicate(timeout=120)[0] for process in labs]
    assert [process.returncode for process in labs] == [0, 0]
    assert [output[:7] for output in outputs] == ["zfs-2.1", "zfs-2.3"]


def test_without_a_command_it_is_a_shell_on_a_terminal() -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.execv(LAB, [LAB])  # noqa: S606
    screen = b""
    while b"# " not in screen:
        screen += os.read(terminal, 4096)
    os.write(terminal, b"test -t 0 && exit 7\n")
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        pass  # the terminal is closed
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 2, "usage:"),
        (("--zfs", "9.9", "true"), 1, "--zfs must be one of: 2.3 2.1"),
        (("--zfz", "true"), 1, "no such option: --zfz"),
        (("--out", "/nowhere", "true"), 1, "no such folder: /nowhere"),
        (("--disk", "/nowhere", "true"), 1, "no such file: /nowhere"),
        (("--memory", "much", "true"), 1, "whole numbers"),
    ],
)
def test_a_wrong_call_is_refused_at_once(
    arguments: tuple[str, ...], status: int, message: str
) -> None:
    result = lab(*arguments)
    assert (result.returncode, result.stdout) == (status, "")
    assert message in result.stderr


def test_help_goes_to_the_output() -> None:
    result = lab("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: script/lab ")
