"""Real programs as hooks: what they are told, what is told of them, and what is not run at all."""

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.drivers.hooks import RealHooks
from reconciler.errors import StepFailed
from reconciler.model.desired import Hook


def program(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hook"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(path: Path, *words: str, seconds: float = 10, **environment: str) -> None:
    hook = Hook(run=(str(path), *words), timeout=timedelta(seconds=seconds))
    RealHooks().run(hook, environment)


def refusal(path: Path | str) -> str:
    with pytest.raises(StepFailed) as failed:
        RealHooks().run(Hook(run=(str(path),)), {})
    return str(failed.value)


def test_a_hook_gets_its_arguments_and_its_environment_and_no_other(tmp_path: Path) -> None:
    path = program(tmp_path, f'echo "$1 $CKPTREE_VM $HOME $LC_ALL" > {tmp_path}/said')
    run(path, "two words", CKPTREE_VM="web")
    assert (tmp_path / "said").read_text() == "two words web  C\n"


def test_a_hook_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    path = program(tmp_path, "echo the database does not answer >&2; exit 3")
    with pytest.raises(StepFailed) as failed:
        run(path)
    assert str(failed.value) == f"{path} ended with exit code 3: the database does not answer"


def test_what_a_hook_says_on_its_standard_output_counts_where_it_says_nothing_else(
    tmp_path: Path,
) -> None:
    path = program(tmp_path, "echo cannot freeze; exit 1")
    with pytest.raises(StepFailed, match="exit code 1: cannot freeze"):
        run(path)


def test_of_a_hook_that_says_much_the_end_is_told(tmp_path: Path) -> None:
    path = program(tmp_path, "yes blah | head -c 100000 >&2; echo the reason >&2; exit 1")
    with pytest.raises(StepFailed) as failed:
        run(path)
    assert len(str(failed.value)) < 2200
    assert str(failed.value).endswith("the reason")


def test_a_hook_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    path = program(
        tmp_path, f"echo waiting >&2; (sleep 3; touch {alive}) & echo $! > {alive}.pid; wait"
    )
    before = time.monotonic()
    with pytest.raises(StepFailed, match=r"did not end within 0.5 s and was killed: waiting"):
        run(path, seconds=0.5)
    assert time.monotonic() - before < 3
    child = int(Path(f"{alive}.pid").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_hook_that_dies_of_a_signal_is_told(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="signal 9"):
        run(program(tmp_path, "kill -9 $$"))


def test_a_hook_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "none"
    assert refusal(path) == (
        f"{path} is not run: No such file or directory (name a program that exists)"
    )


def test_a_hook_without_an_absolute_path_is_not_run() -> None:
    assert "its path is not absolute" in refusal("freeze")


def test_a_hook_that_is_no_program_is_not_run(tmp_path: Path) -> None:
    path = program(tmp_path, "true")
    path.chmod(0o644)
    assert "it is not a program (make it executable with chmod +x)" in refusal(path)


def test_a_hook_that_everybody_may_write_to_is_not_run(tmp_path: Path) -> None:
    path = program(tmp_path, f"touch {tmp_path}/ran")
    path.chmod(0o757)
    assert f"everybody may write to {path} (take that right away with chmod o-w)" in refusal(path)
    assert not (tmp_path / "ran").exists()


def test_a_hook_in_a_folder_that_everybody_may_write_to_is_not_run(tmp_path: Path) -> None:
    path = program(tmp_path, "true")
    tmp_path.chmod(0o777)
    assert f"everybody may write to {tmp_path}" in refusal(path)


def test_what_a_link_leads_to_is_what_counts(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    path = program(folder, "true")
    path.chmod(0o757)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert f"everybody may write to {path}" in refusal(link)


def test_a_folder_in_which_everybody_may_swap_a_link_on_the_way_counts_too(tmp_path: Path) -> None:
    path = program(tmp_path, "true")
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "inner").symlink_to(path.parent)
    link = tmp_path / "link"
    link.symlink_to("open/inner/hook")
    run(link)
    folder.chmod(0o777)
    assert f"everybody may write to {folder} (take that right away with chmod o-w)" in refusal(link)
    folder.chmod(0o1777)  # in which nobody can replace another's link
    run(link)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_a_link_of_another_user_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(program(tmp_path, "true"))
    os.lchown(link, 12345, -1)
    assert f"{link} belongs to another user (give it to root with chown)" in refusal(link)


def test_a_hook_of_another_user_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program(tmp_path, "true")
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:  # only root can give a file away: let somebody else run it
        monkeypatch.setattr("os.geteuid", lambda: 54321)
    assert f"{path} belongs to another user (give it to root with chown)" in refusal(path)


def test_a_program_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    path = tmp_path / "hook"
    path.write_text("#!/no/such/shell\n")
    path.chmod(0o755)
    assert "could not be run" in refusal(path)
