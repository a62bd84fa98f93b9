"""`ckptree events` over real journals, with the homes of a host in memory."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from reconciler.cli.events import command
from reconciler.cli.session import Options, Session
from reconciler.drivers.journal import FileJournal
from reconciler.errors import CkptreeError
from reconciler.model.journal import Begun, Confirmed, Done, Intended
from reconciler.model.properties import encode_time
from reconciler.names import Dataset, NodeName
from reconciler.render.daemon_text import NO_DAEMON

NOW = datetime.now(UTC).replace(microsecond=0)


class Homes:
    """Just what the command asks of ZFS."""

    def __init__(self, root: Path, *names: str) -> None:
        self.paths: dict[str, str | None] = {}
        for name in names:
            (root / name).mkdir(exist_ok=True)
            self.paths[name] = str(root / name)

    def homes(self) -> dict[Dataset, str]:
        return {Dataset(f"tank/{name}"): name for name in self.paths}

    def mounted_at(self, dataset: Dataset) -> str | None:
        return self.paths[dataset.leaf]


def write(root: Path, vm: str, node: str, ago: timedelta) -> None:
    journal = FileJournal(str(root / vm), lambda _: None)
    at = encode_time(NOW - ago)
    journal.append(Begun(at=at, by="anna", plan="", file="", file_digest=""))
    journal.append(
        Intended(at=at, step="T", target="x", action="Capture", nodes=[NodeName(node)], steps=1)
    )
    journal.append(Done(at=at))


def run(homes: Homes, *words: str) -> Result:
    session = Session(Options(None, None, None))
    session.__dict__["choice"] = SimpleNamespace(zfs=homes)
    return CliRunner().invoke(
        command, words, obj=session, catch_exceptions=False, standalone_mode=False
    )


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Homes:
    monkeypatch.setattr("reconciler.paths.SOCKET", tmp_path / "no-socket")
    found = Homes(tmp_path, "web", "db")
    write(tmp_path, "web", "a", timedelta(hours=5))
    write(tmp_path, "db", "b", timedelta(hours=3))
    write(tmp_path, "web", "c", timedelta(minutes=10))
    return found


def sentences(result: Result) -> list[str]:
    return [line[21:] for line in result.stdout.splitlines() if "captured" in line]


def test_the_events_of_all_vms_come_in_the_order_of_time(homes: Homes) -> None:
    result = run(homes)
    assert sentences(result) == [
        "web  captured a (by anna)",
        "db   captured b (by anna)",
        "web  captured c (by anna)",
    ]
    assert result.stdout.splitlines()[-1] == NO_DAEMON
    assert result.return_value == 0


def test_one_vm_may_be_named_and_since_when(homes: Homes) -> None:
    assert len(sentences(run(homes, "web"))) == 2
    assert sentences(run(homes, "--since", "4h", "web")) == ["web  captured c (by anna)"]
    moment = (NOW - timedelta(hours=4)).isoformat().replace("+00:00", "Z")
    assert len(sentences(run(homes, "--since", moment))) == 2


def test_nothing_is_said_to_be_nothing(homes: Homes) -> None:
    assert run(homes, "--since", "1m").stdout.startswith("nothing happened\n")


def test_json_is_one_object_a_line_and_nothing_else(homes: Homes) -> None:
    lines = [json.loads(line) for line in run(homes, "--json").stdout.splitlines()]
    assert [(line["vm"], line["event"], line["nodes"]) for line in lines] == [
        ("web", "captured", ["a"]),
        ("db", "captured", ["b"]),
        ("web", "captured", ["c"]),
    ]


def test_only_the_newest_are_told_where_no_time_is_given(homes: Homes, tmp_path: Path) -> None:
    for number in range(70):
        write(tmp_path, "db", f"n{number}", timedelta(seconds=100 - number))
    result = run(homes)
    assert len(sentences(result)) == 50
    assert sentences(result)[-1] == "db   captured n69 (by anna)"
    assert "there are older events" in result.stdout
    assert len(sentences(run(homes, "--since", "1d"))) == 73


def test_a_long_journal_is_read_only_as_far_back_as_is_asked(homes: Homes, tmp_path: Path) -> None:
    journal = FileJournal(str(tmp_path / "db"), lambda _: None)
    for _ in range(300):
        text = "x" * 1000
        journal.append(Confirmed(at=encode_time(NOW - timedelta(hours=2)), by=text))
    assert "captured b" not in run(homes, "db").stdout
    assert "captured b" in run(homes, "db", "--since", "4h").stdout


def test_what_is_at_work_is_told_at_the_end(homes: Homes, tmp_path: Path) -> None:
    journal = FileJournal(str(tmp_path / "db"), lambda _: None)
    at = encode_time(NOW)
    journal.append(
        Intended(at=at, step="T", target="x", action="Capture", nodes=[NodeName("z")], steps=2)
    )
    assert (
        f"db: capturing z since {NOW:%Y-%m-%d %H:%M:%SZ}, or interrupted at it" in run(homes).stdout
    )


def test_a_home_that_is_not_mounted_is_told_and_the_others_go_on(homes: Homes) -> None:
    homes.paths["db"] = None
    result = run(homes)
    assert "db: tank/db is not mounted" in result.stderr
    assert len(sentences(result)) == 2
    assert result.return_value == 1


def test_a_vm_without_a_home_and_a_time_that_is_none_are_refused(homes: Homes) -> None:
    with pytest.raises(CkptreeError, match=r"no home on this host is of VM wev \(write web\)"):
        run(homes, "wev")
    with pytest.raises(CkptreeError, match=r"'yesterday' is neither a duration nor a time"):
        run(homes, "--since", "yesterday")


def test_it_follows_until_it_is_interrupted(tmp_path: Path) -> None:
    Homes(tmp_path, "web", "db")
    write(tmp_path, "web", "a", timedelta(hours=1))
    script = textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        from tests.unit.cli.test_events import Homes, Session, Options, SimpleNamespace, command
        session = Session(Options(None, None, None))
        session.__dict__["choice"] = SimpleNamespace(zfs=Homes(Path({str(tmp_path)!r}), "web", "db"))
        sys.exit(command.main(["--follow", "--json"], obj=session, standalone_mode=False))
        """
    )
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["nodes"] == ["a"]
        write(tmp_path, "db", "b", timedelta(0))
        assert json.loads(process.stdout.readline())["nodes"] == ["b"]
        write(tmp_path, "web", "c", timedelta(0))
        assert json.loads(process.stdout.readline())["nodes"] == ["c"]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
