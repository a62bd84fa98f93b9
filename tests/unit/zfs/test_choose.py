"""Which write path a host gets, and what channel programs answer, without any of them here."""

import importlib.metadata
from types import SimpleNamespace

import pytest

from reconciler.drivers.zfs import library
from reconciler.drivers.zfs.choose import choose, open_zfs
from reconciler.drivers.zfs.library import available, run_program, signed
from reconciler.drivers.zfs.writer import Refused
from reconciler.errors import CkptreeError, ZfsErrorKind, ZfsRefused

PROGRAMS = ["destroy", "promote", "properties", "rollback"]


class ZFSError(Exception):
    details = b"line 3: no such thing"


class NoSpace(ZFSError):
    pass


def installed(monkeypatch: pytest.MonkeyPatch, version: str, **functions: object) -> None:
    module = SimpleNamespace(exceptions=SimpleNamespace(ZFSError=ZFSError), **functions)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    monkeypatch.setattr(library, "_library", lambda: module)


def test_no_pyzfs(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert available() == "pyzfs is not installed"
    assert open_zfs().name == "zfs command"
    assert "not installed" in choose("auto").reason
    with pytest.raises(CkptreeError, match="not installed"):
        choose("pyzfs")


def test_the_abandoned_pyzfs_is_never_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.2.3")
    monkeypatch.setattr(library, "_library", lambda: pytest.fail("it crashes the interpreter"))
    assert "abandoned" in str(available())


@pytest.mark.parametrize("version", ["unknown", ""])
def test_a_version_that_means_nothing(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    installed(monkeypatch, version)
    assert available() is not None


def test_no_channel_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "2.1.11")
    assert "channel programs" in str(available())


def test_the_command_can_be_asked_for() -> None:
    assert choose("command").zfs.name == "zfs command"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_sent_whole_and_its_refusal_is_typed(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    def channel(pool: bytes, text: bytes, *rest: object) -> bytes:
        assert pool == b"tank"
        assert b"argv" in text
        assert rest[-1] == [b"tank/a"]
        return b"held\ttank/a@b\tby somebody"

    installed(monkeypatch, "2.3.2", lzc_channel_program=channel)
    with pytest.raises(ZfsRefused) as caught:
        run_program("tank", program, ["tank/a"])
    assert caught.value.kind is ZfsErrorKind.HELD
    assert caught.value.target == "tank/a@b"


def test_every_kind_that_a_program_names_exists() -> None:
    kinds = {kind.value for kind in ZfsErrorKind}
    for program in PROGRAMS:
        text = library.program_text(program).decode()
        named = {part.partition('\\t"')[0] for part in text.split('return "')[1:] if "\\t" in part}
        named |= {part.partition('"')[0] for part in text.split('refusal("')[1:]}
        assert {name.partition("\\t")[0] for name in named} <= kinds, program


def test_a_program_that_breaks_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    def channel(*_: object) -> bytes:
        raise NoSpace("pool")

    installed(monkeypatch, "2.3.2", lzc_channel_program=channel)
    with pytest.raises(Refused, match="line 3") as caught:
        run_program("tank", "destroy", [])
    assert caught.value.kind is ZfsErrorKind.NO_SPACE


def test_guids_are_signed_in_programs() -> None:
    assert signed((1 << 64) - 1) == "-1"
    assert signed(7) == "7"
    assert signed(None) == ""
