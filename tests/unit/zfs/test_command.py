"""Starting processes: what is passed on, what is bounded, what is said about failures."""

import logging

import pytest

from reconciler.drivers import command
from reconciler.drivers.command import find, run
from reconciler.errors import CommandFailed


def test_output_input_and_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    done = run(["sh", "-c", "cat; env; pwd; echo warned >&2"], timeout=10, input="given\n")
    lines = done.stdout.splitlines()
    assert lines[0] == "given"
    assert lines[-1] == "/"
    assert "LC_ALL=C" in lines
    assert "SECRET" not in done.stdout
    assert done.stderr == "warned\n"


def test_standard_input_is_closed() -> None:
    assert run(["cat"], timeout=10).stdout == ""


def test_nothing_is_read_by_a_shell() -> None:
    assert run(["echo", "$HOME; *", "a b"], timeout=10).stdout == "$HOME; * a b\n"


def test_bytes_that_are_no_text_survive() -> None:
    done = run(["printf", r"\377x"], timeout=10)
    assert done.stdout.encode("utf-8", "surrogateescape") == b"\xffx"


def test_a_failure_says_what_and_why() -> None:
    with pytest.raises(CommandFailed, match="exit code 3: no good") as caught:
        run(["sh", "-c", "echo no good >&2; exit 3"], timeout=10)
    assert caught.value.code == 3


def test_a_missing_program() -> None:
    with pytest.raises(CommandFailed, match="there is no program no-such-thing in /sbin"):
        run(["no-such-thing"], timeout=10)
    with pytest.raises(CommandFailed):
        run(["/no/such/thing"], timeout=10)


def test_the_path_of_whoever_started_us_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert find("sh") in {"/bin/sh", "/usr/bin/sh"}


def test_the_time_limit() -> None:
    with pytest.raises(CommandFailed, match="did not end in time") as caught:
        run(["sh", "-c", "sleep 30 & sleep 30"], timeout=0.2)
    assert caught.value.code is None


def test_too_much_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "LONGEST_OUTPUT", 1 << 20)
    with pytest.raises(CommandFailed, match="bytes of output"):
        run(["yes"], timeout=30)


def test_input_that_nobody_reads() -> None:
    assert run(["true"], timeout=10, input="x" * (1 << 20)).stdout == ""


def test_every_run_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "reconciler.drivers.command"):
        run(["true"], timeout=10)
    assert "true: 0 after" in caplog.text
