"""The service files, as a host would use them: rc.d/ckptree under three shells, the periodic report, the systemd unit.

FreeBSD's rc.subr(8) and daemon(8) are stand-ins (tests/support/freebsd); processes, signals and pid files are real.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click import Context, Group

from reconciler.cli.main import _ckptree
from reconciler.drivers.readiness import Readiness
from tests.support.freebsd.host import PATIENCE, STAND_IN, FreeBsd, alive, eventually, text

CHECKOUT = Path(__file__).parents[2]
SHELLS = (("dash",), ("mksh",), ("busybox", "sh"))
CKPTREE = Path(sys.executable).with_name("ckptree")


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FreeBsd]:
    made = FreeBsd(tmp_path, request.param)
    yield made
    made.end()


@pytest.fixture
def one(tmp_path: Path) -> Iterator[FreeBsd]:
    """A host, for what is no matter of the shell."""
    made = FreeBsd(tmp_path)
    yield made
    made.end()


def test_start_composes_the_command_of_the_supervisor(host: FreeBsd) -> None:
    host.up()
    assert host.composed == [
        "-c", "-f", "-r", "-R", "5", "-P", f"{host.run}/supervisor.pid", "-p", f"{host.run}/daemon.pid",
        "-S", "-l", "daemon", "-T", "ckptree", "-t", "ckptree", "--", f"{host.home}/ckptree", "run",
    ]  # fmt: skip
    assert "load_kld vmm" in text(host.root / "log")


def test_each_variable_arrives(host: FreeBsd) -> None:
    settings = host.root / "host settings.yaml"
    settings.write_text("zfs: auto\n")
    other = host.root / "other"
    other.write_text(STAND_IN)
    other.chmod(0o755)
    for name in ("faults", "status"):
        (host.root / name).write_text("")
    host.rc_conf(
        "ckptree_enable=YES",
        f"ckptree_config={shlex.quote(str(settings).replace(' ', '-'))}",
        "ckptree_vms=/srv/vms",
        "ckptree_flags='--debug'",
        f"ckptree_binary={other}",
        "ckptree_restart_delay=60",
        "ckptree_syslog_facility=local3",
        "ckptree_modules=''",
        "ckptree_env='A=1'",
    )
    settings.rename(str(settings).replace(" ", "-"))
    assert host.service("start").returncode == 0
    eventually(lambda: text(host.root / "up"))
    words = host.composed
    assert words[words.index("-R") + 1] == "60"
    assert words[words.index("-l") + 1] == "local3"
    config = str(settings).replace(" ", "-")
    assert words[words.index("--") + 1 :] == [
        str(other), "--config", config, "--vms", "/srv/vms", "run", "--debug",
    ]  # fmt: skip
    assert "load_kld" not in text(host.root / "log")
    assert "A=1" in text(host.root / "environment").splitlines()
    assert f"--config {config} --vms /srv/vms validate" in text(host.root / "calls")


def test_the_daemon_knows_utf_8_and_where_packages_are(host: FreeBsd) -> None:
    lines = text(host.up().home / "environment").splitlines()
    assert {"LANG=C.UTF-8", "PYTHONUNBUFFERED=1"} <= set(lines)
    assert any(line.startswith("PATH=") and "/usr/local/bin" in line for line in lines)


def test_the_folder_of_sockets_is_for_its_owner_only(host: FreeBsd) -> None:
    before = os.umask(0)
    try:
        host.up()
    finally:
        os.umask(before)
    assert host.run.stat().st_mode & 0o7777 == 0o700


def test_without_enable_nothing_is_started(host: FreeBsd) -> None:
    host.rc_conf()
    answer = host.service("start")
    assert "ckptree_enable" in answer.stdout
    assert not (host.root / "daemon").exists()
    assert host.service("onestart").returncode == 0
    eventually(lambda: text(host.home / "up"))


def test_settings_that_are_named_must_be_there(host: FreeBsd) -> None:
    host.rc_conf("ckptree_enable=YES", "ckptree_config=/nonexistent/ckptree.yaml")
    answer = host.service("start")
    assert answer.returncode == 1
    assert "/nonexistent/ckptree.yaml" in answer.stderr
    assert not (host.root / "daemon").exists()


def test_start_is_refused_while_a_document_is_faulty(host: FreeBsd) -> None:
    host.faulty("web.yaml:3:1: unknown key 'chekpoints'")
    answer = host.service("start")
    assert answer.returncode == 1
    assert "web.yaml:3:1" in answer.stderr
    assert "start is refused" in answer.stderr
    assert not (host.root / "daemon").exists()


def test_at_boot_one_faulty_document_leaves_no_other_vm_alone(host: FreeBsd) -> None:
    host.faulty("web.yaml:3:1: unknown key 'chekpoints'")
    host.environment["autoboot"] = "yes"
    answer = host.service("faststart")
    assert answer.returncode == 0
    assert "web.yaml:3:1" in answer.stdout
    assert "started all the same" in answer.stderr
    eventually(lambda: text(host.home / "up"))


def test_restart_is_refused_while_a_document_is_faulty_and_what_runs_goes_on(host: FreeBsd) -> None:
    host.up()
    before = (host.supervisor, host.child)
    host.faulty("web.yaml:3:1: unknown key 'chekpoints'")
    answer = host.service("restart")
    assert answer.returncode == 1
    assert "web.yaml:3:1" in answer.stderr
    assert "restart is refused" in answer.stderr
    assert (host.supervisor, host.child) == before
    assert alive(host.child)
    assert text(host.home / "signals") == ""


def test_reload_checks_and_then_tells_the_child(host: FreeBsd) -> None:
    host.up()
    before = (host.supervisor, host.child)
    assert host.service("reload").returncode == 0
    eventually(lambda: text(host.home / "signals") == "HUP\n")
    assert host.calls[-1] == "validate"
    assert (host.supervisor, host.child) == before


def test_reload_is_refused_while_a_document_is_faulty(host: FreeBsd) -> None:
    host.up()
    host.faulty("web.yaml:3:1: unknown key 'chekpoints'")
    answer = host.service("reload")
    assert answer.returncode == 1
    assert "reload is refused" in answer.stderr
    (host.home / "faults").write_text("")
    assert host.service("reload").returncode == 0  # what comes now is the first signal
    eventually(lambda: text(host.home / "signals") == "HUP\n")


def test_reload_of_what_does_not_run_says_so(host: FreeBsd) -> None:
    answer = host.service("reload")
    assert answer.returncode == 1
    assert "ckptree not running?" in answer.stderr


def test_reload_signals_nobody_who_got_the_number_of_a_dead_child(host: FreeBsd) -> None:
    host.up()
    child = host.child
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (host.run / "daemon.pid").write_text(str(stranger.pid))
        answer = host.service("reload")
        assert answer.returncode == 0
        assert "just being started again" in answer.stderr
        assert stranger.poll() is None
        stranger.kill()
    (host.run / "daemon.pid").write_text(str(child))


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after its child"])
def test_stop_returns_when_ckptree_has_ended_whenever_the_supervisor_ends(
    host: FreeBsd, waits: bool
) -> None:
    if waits:
        host.environment["DAEMON_WAITS"] = "yes"
    child = host.up().child
    assert host.service("stop").returncode == 0
    assert not alive(child)
    assert text(host.home / "signals") == "TERM\n"
    assert not (host.run / "supervisor.pid").exists()


def test_restart_never_has_two_of_them(host: FreeBsd) -> None:
    child = host.up().child
    (host.home / "up").unlink()
    assert host.service("restart").returncode == 0
    eventually(lambda: text(host.home / "up"))
    assert not alive(child)
    assert host.child != child


def test_a_daemon_that_dies_is_started_again(one: FreeBsd) -> None:
    one.rc_conf("ckptree_enable=YES", "ckptree_restart_delay=1")
    child = one.up().child
    (one.home / "up").unlink()
    os.kill(child, signal.SIGKILL)
    eventually(lambda: text(one.home / "up"))
    assert one.child != child


def test_status_tells_whether_it_runs(host: FreeBsd) -> None:
    answer = host.service("status")
    assert (answer.returncode, answer.stdout) == (1, "ckptree is not running.\n")
    host.up()
    answer = host.service("status")
    assert (answer.returncode, answer.stdout) == (
        0,
        f"ckptree is running as pid {host.supervisor}.\n",
    )


def test_plan_and_report_have_the_exit_codes_of_ckptree(host: FreeBsd) -> None:
    plan = host.service("plan", "web", "db")
    assert (plan.returncode, plan.stdout) == (2, "planned: plan web db\n")
    (host.home / "status").write_text("3")
    report = host.service("report")
    assert (report.returncode, report.stdout) == (3, "status: status\n")


def test_configtest_shows_what_is_faulty(host: FreeBsd) -> None:
    assert host.service("configtest").returncode == 0
    host.faulty("web.yaml:3:1: unknown key 'chekpoints'")
    answer = host.service("configtest")
    assert answer.returncode == 1
    assert "web.yaml:3:1" in answer.stdout


def test_configtest_of_the_real_program(one: FreeBsd, tmp_path: Path) -> None:
    documents = tmp_path / "vms.d"
    documents.mkdir()
    sample = (CHECKOUT / "examples" / "single.yaml").read_text()
    (documents / "single.yaml").write_text(sample)
    one.rc_conf("ckptree_enable=YES", f"ckptree_binary={CKPTREE}", f"ckptree_vms={documents}")
    assert one.service("configtest").returncode == 0
    (documents / "single.yaml").write_text(sample.replace("dataset:", "datset:"))
    answer = one.service("start")
    assert answer.returncode == 1
    assert "single.yaml:" in answer.stderr
    assert not (one.root / "daemon").exists()


def test_every_variable_is_described_and_each_that_is_described_exists() -> None:
    script = (CHECKOUT / "rc.d" / "ckptree").read_text()
    described = set(
        re.findall(r"^# (ckptree_\w+) +(?:bool|path|list|int|word) ", script, re.MULTILINE)
    )
    given = set(re.findall(r"^: \$\{(ckptree_\w+):?=", script, re.MULTILINE))
    assert described - {"ckptree_oomprotect"} == given - {"ckptree_svcj"}


def test_the_header_is_where_rcorder_looks_for_it() -> None:
    lines = (CHECKOUT / "rc.d" / "ckptree").read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert lines[2:5] == [
        "# PROVIDE: ckptree",
        "# REQUIRE: LOGIN zfs vm",
        "# KEYWORD: nojail shutdown",
    ]
    assert os.access(CHECKOUT / "rc.d" / "ckptree", os.X_OK)


# ---- the daily report


@dataclass
class Periodic:
    """`periodic daily` with the report of ckptree alone, on HOST."""

    host: FreeBsd

    def __post_init__(self) -> None:
        self.conf = self.host.root / "periodic.conf"
        self.set("daily_ckptree_enable=YES")
        script = (CHECKOUT / "contrib" / "periodic" / "500.ckptree").read_text()
        for real, here in (
            ("/etc/defaults/periodic.conf", str(self.host.root / "defaults")),
            ("/usr/local/bin/ckptree", str(self.host.home / "ckptree")),
        ):
            assert real in script
            script = script.replace(real, here)
        (self.host.root / "defaults").write_text(f"source_periodic_confs() {{ . {self.conf}; }}\n")
        self.script = self.host.root / "500.ckptree"
        self.script.write_text(script)

    def set(self, *lines: str) -> None:
        self.conf.write_text("\n".join(lines) + "\n")

    def report(self) -> tuple[int, str]:
        done = subprocess.run(
            [*self.host.shell, str(self.script)],
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.stderr == ""
        return done.returncode, done.stdout


@pytest.fixture
def periodic(host: FreeBsd) -> Periodic:
    return Periodic(host)


@pytest.mark.parametrize(("status", "code"), [(2, 1), (3, 3), (1, 3)])
def test_the_report_shows_what_is_not_as_desired(
    periodic: Periodic, status: int, code: int
) -> None:
    (periodic.host.home / "status").write_text(str(status))
    assert periodic.report() == (code, "\nCheckpoints of the guests:\nstatus: status\n")


def test_the_report_is_silent_where_all_is_well(periodic: Periodic) -> None:
    assert periodic.report() == (0, "")


def test_the_report_is_off_unless_it_is_switched_on(periodic: Periodic) -> None:
    periodic.set()
    (periodic.host.home / "status").write_text("3")
    assert periodic.report() == (0, "")
    assert periodic.host.calls == []


def test_a_faulty_document_is_a_bad_configuration_and_the_others_are_told(
    periodic: Periodic,
) -> None:
    periodic.host.faulty("web.yaml:3:1: unknown key 'chekpoints'")
    code, said = periodic.report()
    assert code == 2
    assert "web.yaml:3:1" in said
    assert "status: status" in said


def test_a_program_that_is_not_there_is_a_bad_configuration(periodic: Periodic) -> None:
    periodic.set("daily_ckptree_enable=YES", "daily_ckptree_binary=/nonexistent")
    code, said = periodic.report()
    assert code == 2
    assert "/nonexistent" in said


def test_the_report_asks_with_the_settings_of_the_host(periodic: Periodic) -> None:
    periodic.set(
        "daily_ckptree_enable=YES",
        "daily_ckptree_config=/etc/x.yaml",
        "daily_ckptree_vms='/srv/my vms'",
    )
    assert periodic.report() == (0, "")
    assert periodic.host.calls == [
        "--config /etc/x.yaml --vms /srv/my vms validate",
        "--config /etc/x.yaml --vms /srv/my vms status",
    ]


# ---- systemd, manual pages, port


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = (CHECKOUT / "contrib" / "systemd" / "ckptree.service").read_text()
    assert "/usr/local/bin/ckptree" in unit
    place = tmp_path / "ckptree.service"
    place.write_text(unit.replace("/usr/local/bin/ckptree", str(CKPTREE)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(place)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_shares_the_mounts_of_the_host() -> None:
    lines = (CHECKOUT / "contrib" / "systemd" / "ckptree.service").read_text().splitlines()
    keys = {line.partition("=")[0] for line in lines if line and line[0] not in "#["}
    alone = {"ProtectSystem", "ProtectHome", "PrivateTmp", "PrivateDevices", "ReadWritePaths"}
    assert not keys & alone
    assert "KillMode=process" in lines
    assert "RuntimeDirectoryPreserve=yes" in lines


@pytest.mark.parametrize("page", ["ckptree.8", "ckptree.yaml.5"])
def test_the_manual_pages_are_without_fault(page: str) -> None:
    done = subprocess.run(
        ["mandoc", "-Tlint", "-Wall", "-Ios=FreeBSD", str(CHECKOUT / "man" / page)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    told = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert told == []


def test_the_manual_page_names_every_command_and_option() -> None:
    page = (CHECKOUT / "man" / "ckptree.8").read_text()
    assert isinstance(_ckptree, Group)
    context = Context(_ckptree)
    for name in _ckptree.list_commands(context):
        assert f"Cm {name}" in page, name
        command = _ckptree.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--"):
                    assert f"Fl -{option[2:]}" in page, f"{name} {option}"


def test_the_manual_page_names_every_key_of_both_schemas() -> None:
    page = (CHECKOUT / "man" / "ckptree.yaml.5").read_text()
    for name in ("host", "vm"):
        schema = json.loads((CHECKOUT / "schemas" / f"{name}.schema.json").read_text())
        for key in sorted(set(keys_of(schema))):
            assert re.search(rf"^\.It Cm {re.escape(key)}( |$)", page, re.MULTILINE), key


def keys_of(part: object) -> Iterator[str]:
    """Give the keys that a document may have in PART of a schema."""
    if isinstance(part, dict):
        yield from part.get("properties", {})
        for name, value in part.items():
            if name != "allOf":
                yield from keys_of(value)
    elif isinstance(part, list):
        for value in part:
            yield from keys_of(value)


def test_the_port_installs_files_that_exist() -> None:
    makefile = (CHECKOUT / "port" / "Makefile").read_text()
    names = re.findall(r"\$\{WRKSRC\}/([\w./-]+)", makefile)
    assert len(names) > 10
    for name in names:
        assert (CHECKOUT / name).exists(), name


def test_the_port_asks_for_what_the_package_asks_for() -> None:
    makefile = (CHECKOUT / "port" / "Makefile").read_text()
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert f"DISTVERSION=\t{project['version']}\n" in makefile
    for dependency in project["dependencies"]:
        name, least = re.findall(r"^(\w+)>=([\d.]+)", dependency)[0]
        assert f"${{PYTHON_PKGNAMEPREFIX}}{name.lower()}>={least}:" in makefile


def test_a_name_outside_of_any_file_system_reaches_the_service_manager() -> None:
    name = f"ckptree-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        manager.settimeout(PATIENCE)
        Readiness({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert manager.recv(100) == b"READY=1"
