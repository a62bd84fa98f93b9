"""Programs that live on: what they are started with."""

from pathlib import Path

import pytest

from reconciler.drivers.command import launch, run
from reconciler.errors import CommandFailed


def test_a_program_runs_in_its_folder_with_a_small_environment(tmp_path: Path) -> None:
    with launch(
        ["sh", "-c", "pwd; env | cut -d= -f1 | sort | tr '\n' ' '"], cwd=str(tmp_path)
    ) as child:
        assert child.stdout is not None
        place, names = child.stdout.read().decode().splitlines()
    assert place == str(tmp_path)
    assert set(names.split()) <= {"LC_ALL", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}


def test_what_it_writes_on_either_stream_is_in_the_pipe(tmp_path: Path) -> None:
    with launch(["sh", "-c", "echo out; echo err >&2"], cwd=str(tmp_path)) as child:
        assert child.stdout is not None
        assert child.stdout.read() == b"out\nerr\n"


def test_its_standard_input_never_ends(tmp_path: Path) -> None:
    with launch(["sh", "-c", "read line; echo ended"], cwd=str(tmp_path)) as child:
        try:
            assert child.stdout is not None
            import select

            assert select.select([child.stdout], [], [], 0.3)[0] == []
        finally:
            child.kill()


def test_it_has_a_session_of_its_own(tmp_path: Path) -> None:
    import os

    with launch(["sleep", "60"], cwd=str(tmp_path)) as child:
        assert os.getsid(child.pid) == child.pid
        child.kill()


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="no program no-such-program"):
        launch(["no-such-program"], cwd=str(tmp_path))
    with pytest.raises(CommandFailed, match="No such file"):
        launch(["sh"], cwd=str(tmp_path / "nowhere"))


def test_exit_codes_that_are_asked_for_are_no_error(tmp_path: Path) -> None:
    done = run(["sh", "-c", "pwd; exit 3"], timeout=10, cwd=str(tmp_path), codes=(0, 3))
    assert (done.code, done.stdout.strip()) == (3, str(tmp_path))
    with pytest.raises(CommandFailed, match="exit code 3"):
        run(["sh", "-c", "exit 3"], timeout=10)
