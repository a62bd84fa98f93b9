"""Valid documents in full, and folders of files."""

import errno
import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.errors import CkptreeError
from reconciler.model.desired import (
    Bhyve,
    Command,
    DesiredVm,
    FileDisk,
    Hook,
    Hooks,
    Hypervisor,
    MemoryWish,
    Prune,
    PruneMode,
    Qemu,
    RestorePolicy,
    Schedule,
    SourcePosition,
    Unmanaged,
    Unsaved,
    VmBhyve,
    VolumeDisk,
    When,
    WhenRunning,
)
from reconciler.spec.load import Loaded, load_path, load_text

EVERYTHING = """\
vm: web
dataset: zroot/vm/web
disks: [disk0.img, {zvol: disk1}]
hypervisor:
  bhyve:
    config: web.conf
    loader: [/usr/sbin/bhyveload, web]
    mode: suspend
current: patched
prune: {mode: confirm, grace: 0, limit: 3}
restore: {again: 2, unsaved: refuse, running: wait}
hooks:
  before-checkpoint: {run: [/bin/freeze, web], timeout: 1m}
  after-restore:
    run: ["/bin/clock"]
schedule: {every: 24h, keep: 1w}
host: bsd07
suspend: true
checkpoints:
  base:
    about: 14.3 fresh install
    protect: true
    labels: {change: CHG-4711, "1": "2"}
    checkpoints:
      patched:
        was: updated
        memory: required
        checkpoints:
          with-postgres:
      experiment: {expires: 2026-12-24, when: manual, fork: true}
  other: {adopt: before-upgrade, keep: 2w, memory: never}
"""
SMALL = "vm: {0}\ndataset: tank/vm/{0}\ndisks: [disk0.img]\ncheckpoints: {{}}\n"


def load(text: str | bytes, file: str = "web.yaml") -> DesiredVm:
    result = load_text(text, file)
    assert isinstance(result, DesiredVm), result
    return result


def names(loaded: Loaded) -> list[str]:
    return [str(vm.vm) for vm in loaded.vms]


def messages(loaded: Loaded, folder: Path) -> list[str]:
    return [str(finding).replace(f"{folder}/", "") for finding in loaded.findings]


def test_every_key_has_its_place() -> None:
    vm = load(EVERYTHING)
    assert (vm.vm, vm.dataset) == ("web", "zroot/vm/web")
    assert vm.position == SourcePosition("web.yaml", 1, 5)
    assert vm.digest == hashlib.sha256(EVERYTHING.encode()).hexdigest()
    assert vm.disks == (FileDisk("disk0.img"), VolumeDisk("disk1"))
    loader = ("/usr/sbin/bhyveload", "web")
    assert vm.hypervisor == Bhyve(config="web.conf", loader=loader, mode="suspend")
    assert vm.current == "patched"
    assert vm.prune == Prune(mode=PruneMode.CONFIRM, grace=timedelta(0), limit=3)
    policy = RestorePolicy(again="2", unsaved=Unsaved.REFUSE, running=WhenRunning.WAIT)
    assert vm.restore == policy
    assert vm.hooks == Hooks(
        before_checkpoint=Hook(run=("/bin/freeze", "web"), timeout=timedelta(minutes=1)),
        after_restore=Hook(run=("/bin/clock",)),
    )
    assert vm.schedule == Schedule(every=timedelta(hours=24), keep=timedelta(weeks=1))
    assert vm.host == "bsd07"
    assert vm.suspend


def test_nodes_are_in_the_order_of_the_file_with_parents_first() -> None:
    vm = load(EVERYTHING)
    assert [(node.name, node.parent, node.position.line) for node in vm.nodes] == [
        ("base", None, 20),
        ("patched", "base", 25),
        ("with-postgres", "patched", 29),
        ("experiment", "base", 30),
        ("other", None, 31),
    ]
    base, patched, postgres, experiment, other = vm.nodes
    assert base.about == "14.3 fresh install"
    assert base.protect
    assert base.labels == (("change", "CHG-4711"), ("1", "2"))
    assert patched.was == "updated"
    assert patched.memory is MemoryWish.REQUIRED
    assert postgres.about == ""
    assert postgres.when is When.NOW
    assert experiment.expires == datetime(2026, 12, 24, tzinfo=UTC)
    assert experiment.when is When.MANUAL
    assert experiment.fork
    assert (other.adopt, other.keep) == ("before-upgrade", timedelta(weeks=2))
    assert other.memory is MemoryWish.NEVER


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Unmanaged()),
        ("{none: }", Unmanaged()),
        ("{none: {}}", Unmanaged()),
        ("{bhyve: {args: [-c, '2']}}", Bhyve(args=("-c", "2"))),
        ("{vm-bhyve: }", VmBhyve(guest="web")),
        ("{vm-bhyve: {guest: w, mode: disks}}", VmBhyve(guest="w", mode="disks")),
        ("{qemu: {args: [-m, 2G]}}", Qemu(args=("-m", "2G"))),
        ("{qemu: {binary: /bin/q, args: [-m]}}", Qemu(args=("-m",), binary="/bin/q")),
        (
            "{command: {start: [/a], stop: [/b], running: [/c], save: [/d, e]}}",
            Command(start=("/a",), stop=("/b",), running=("/c",), save=("/d", "e")),
        ),
    ],
)
def test_every_hypervisor_can_be_written(text: str, expected: Hypervisor) -> None:
    assert load(SMALL.format("web") + f"hypervisor: {text}\n").hypervisor == expected


def test_what_is_left_out_has_the_default_of_the_model() -> None:
    vm = load(SMALL.format("web"))
    assert vm.nodes == ()
    assert vm.current is None
    assert (vm.prune, vm.restore, vm.hooks) == (Prune(), RestorePolicy(), Hooks())
    assert (vm.hypervisor, vm.schedule, vm.host, vm.suspend) == (Unmanaged(), None, None, False)


@pytest.mark.parametrize("again", ["2", "2026-12-24", "ticket-4711", '"1.5"'])
def test_the_token_of_a_restore_is_kept_as_written(again: str) -> None:
    vm = load(SMALL.format("web") + f"restore: {{again: {again}}}\n")
    assert vm.restore.again == again.strip('"')


def test_the_digest_is_of_the_bytes_and_not_of_the_meaning() -> None:
    one, two = load(SMALL.format("web")), load(SMALL.format("web") + "# comment\n")
    assert one.digest != two.digest


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "---\n# x\n...\n"])
def test_an_empty_document_is_no_vm_and_no_fault(text: str, tmp_path: Path) -> None:
    assert load_text(text, "web.yaml") == ()
    file = tmp_path / "web.yaml"
    file.write_text(text)
    assert load_path(tmp_path) == Loaded(vms=(), findings=(), empty=(str(file),))


def test_one_faulty_file_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SMALL.format("a"))
    (tmp_path / "b.yml").write_text("vm: [\n")
    (tmp_path / "c.yaml").write_text(SMALL.format("c"))
    loaded = load_path(tmp_path)
    assert names(loaded) == ["a", "c"]
    assert messages(loaded, tmp_path) == [
        "b.yml:1:6: something is missing (write the value, or close the bracket)"
    ]


def test_only_the_documents_of_the_folder_itself_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SMALL.format("a"))
    for leftover in (".b.yaml", "#b.yaml", "b.yaml~", "b.yaml.swp", ".b.yaml.swp", "b.txt", "4913"):
        (tmp_path / leftover).write_text("vm: [")
    below = tmp_path / "below"
    below.mkdir()
    (below / "b.yaml").write_text("vm: [")
    loaded = load_path(tmp_path)
    assert names(loaded) == ["a"]
    assert loaded.findings == ()


def test_one_file_may_have_any_name(tmp_path: Path) -> None:
    file = tmp_path / ".draft"
    file.write_text(SMALL.format("a"))
    assert names(load_path(file)) == ["a"]


def test_two_files_that_claim_the_same_are_both_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SMALL.format("a"))
    (tmp_path / "b.yaml").write_text(SMALL.format("b"))
    (tmp_path / "b2.yaml").write_text(SMALL.format("b").replace("tank/vm/b", "tank/vm/b2"))
    (tmp_path / "c.yaml").write_text(SMALL.format("c"))
    (tmp_path / "d.yaml").write_text(SMALL.format("d").replace("tank/vm/d", "tank/vm/c"))
    (tmp_path / "e.yaml").write_text(SMALL.format("e"))
    (tmp_path / "f.yaml").write_text(SMALL.format("f").replace("tank/vm/f", "tank/vm/e/f"))
    loaded = load_path(tmp_path)
    assert names(loaded) == ["a"]
    name = "describe each VM in one file"
    place = "give each VM a dataset of its own"
    assert messages(loaded, tmp_path) == [
        f"b.yaml:1:5: the VM 'b' is also described at b2.yaml:1:5 ({name})",
        f"b2.yaml:1:5: the VM 'b' is also described at b.yaml:1:5 ({name})",
        f"c.yaml:2:10: the dataset 'tank/vm/c' is also claimed at d.yaml:2:10 ({place})",
        f"d.yaml:2:10: the dataset 'tank/vm/c' is also claimed at c.yaml:2:10 ({place})",
        f"e.yaml:2:10: the dataset 'tank/vm/e' holds the one at f.yaml:2:10 ({place})",
        f"f.yaml:2:10: the dataset 'tank/vm/e/f' lies inside the one at e.yaml:2:10 ({place})",
    ]


def test_a_copy_is_not_taken_for_the_vm_while_the_original_has_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SMALL.format("a") + "suspend: yes\n")
    (tmp_path / "copy.yaml").write_text(SMALL.format("a").replace("tank/vm/a", "tank/vm/x"))
    assert names(load_path(tmp_path)) == []


def test_a_path_that_is_not_there_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CkptreeError, match=r"no such file or folder \(name the VM documents"):
        load_path(tmp_path / "missing")
    with pytest.raises(CkptreeError, match="cannot be read: not a directory"):
        load_path(Path(__file__) / "missing")
    with pytest.raises(CkptreeError, match="cannot be read"):
        load_path(Path("a\0b"))


def test_what_is_no_plain_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "null.yaml").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "web.yaml").write_text(SMALL.format("web"))
    loaded = load_path(tmp_path)
    assert names(loaded) == ["web"]
    regular = "this is not a regular file (remove it, or give it another ending)"
    assert [line for line in messages(loaded, tmp_path) if "loop" not in line] == [
        f"folder.yaml:1:1: {regular}",
        "link.yaml:1:1: the file is not there: a link to nowhere? (remove it, or put the file back)",
        f"null.yaml:1:1: {regular}",
        f"pipe.yaml:1:1: {regular}",
    ]
    (loop,) = [line for line in messages(loaded, tmp_path) if "loop" in line]
    assert loop.startswith(
        "loop.yaml:1:1: the file cannot be read: too many levels of symbolic links"
    )


def test_a_link_to_a_document_is_followed(tmp_path: Path) -> None:
    original = tmp_path / "web"
    original.write_text(SMALL.format("web"))
    (tmp_path / "web.yaml").symlink_to(original)
    assert names(load_path(tmp_path)) == ["web"]


def test_what_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    open_file = tmp_path / "open.yaml"
    open_file.write_text(SMALL.format("open"))
    open_file.chmod(0o666)
    (tmp_path / "web.yaml").write_text(SMALL.format("web"))
    loaded = load_path(tmp_path)
    assert names(loaded) == ["web"]
    assert messages(loaded, tmp_path) == [
        "open.yaml:1:1: everybody may write to this file (take that right away with chmod o-w)"
    ]
    tmp_path.chmod(0o777)
    with pytest.raises(CkptreeError, match="everybody may write to this folder"):
        load_path(tmp_path)


def test_a_file_that_may_not_be_read_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> int:  # root, who runs these tests too, may read every file
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / "web.yaml").write_text(SMALL.format("web"))
    monkeypatch.setattr(os, "open", denied)
    assert messages(load_path(tmp_path), tmp_path) == [
        "web.yaml:1:1: the file cannot be read: permission denied (make it readable, or remove it)"
    ]


def test_a_file_name_that_is_no_text_can_still_be_shown(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"\xff.yaml")).write_text("vm: [")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    (finding,) = load_path(tmp_path).findings
    assert str(finding).encode("utf-8").startswith(f"{tmp_path}/\\xff.yaml:1:6:".encode())
