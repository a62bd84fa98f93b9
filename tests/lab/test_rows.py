"""Every row of the design's table of hard cases that needs no running hypervisor, on real ZFS, both write paths.

What `ckptree` did is checked with the `zfs` command and with the disks themselves, never with its own reader.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.drivers.files import RealFiles
from reconciler.drivers.identity import this_host
from reconciler.drivers.journal import FileJournal
from reconciler.model.journal import Confirmed
from reconciler.names import Dataset
from tests.lab.operator import Operator, shell

TREE = """
base:
  checkpoints:
    patched:
"""


@pytest.fixture(params=["pyzfs", "command"])
def operator(request: pytest.FixtureRequest, dataset: str, tmp_path: Path) -> Iterator[Operator]:
    """A VM with a disk image and a volume, with 'installed' on both, and no checkpoint yet."""
    yield new_vm(f"{dataset}/web", tmp_path, request.param, ("disk1",))
    held = f"zfs list -H -t snapshot -o name,userrefs -r {dataset} | awk '$2 > 0 {{print $1}}'"
    shell("sh", "-c", f"{held} | xargs -r zfs release ckptree")
    shell("udevadm", "settle")  # it looks at each new volume for a moment, which makes that busy


def new_vm(home: str, folder: Path, write_path: str, volumes: tuple[str, ...]) -> Operator:
    """Make by hand what two runs of `ckptree init` make: starting processes is what takes time in the lab."""
    marks = ["-o", "ckptree:vm=web"]
    owner = this_host().host_id
    shell("zfs", "create", *marks, "-o", f"ckptree:owner={owner}", "-o", "atime=off", home)
    marks += ["-o", "ckptree:branch=1"]
    shell("zfs", "create", *marks, f"{home}/b-1")
    one = Operator(home, folder, write_path, volumes)
    RealFiles().switch_link(str(one.path), "b-1")
    for volume in volumes:
        shell("zfs", "create", *marks, "-o", "volmode=dev", "-V", "4M", f"{home}/b-1/{volume}")
    one.disk.write_bytes(bytes(1 << 20))
    RealFiles().prepare(str(one.path / "b-1"), Dataset(f"{home}/b-1"), ["disk0.img"], volumes)
    FileJournal(str(one.path), print).append(Confirmed(at="", by="test"))
    one.guest_writes("installed")
    return one


def test_a_chain_of_new_children_of_the_position_is_captured(operator: Operator) -> None:
    operator.write(TREE)
    assert operator.ckptree("plan").code == 2
    operator.apply()
    before = operator.everything()
    assert operator.ckptree("plan").out == "web: nothing to do\n"
    assert operator.ckptree("apply").out == "web: nothing to do\n"
    assert operator.everything() == before
    assert "\tckptree\t" in shell("zfs", "holds", "-H", f"{operator.home}/b-1@base")
    nodes = {"b-1@base", "b-1@patched", "b-1/disk1@base", "b-1/disk1@patched"}
    assert operator.snapshots() == nodes
    for node in nodes:
        assert operator.held(node)
        assert operator.get(node, "ckptree:node") == node.partition("@")[2]
        assert operator.get(node, "ckptree:grade") == "clean"
    assert operator.get("b-1@base", "createtxg") == operator.get("b-1/disk1@base", "createtxg")


def test_a_new_child_of_another_node_waits_and_says_what_would_resolve_it(
    operator: Operator,
) -> None:
    operator.write(TREE)
    operator.apply()
    operator.write(TREE + "    elsewhere:\n")
    outcome = operator.apply(code=3)
    assert "ParentNotCurrent" in outcome.text
    assert "current: base" in outcome.text
    assert "fork: true" in outcome.text
    assert "b-1@elsewhere" not in operator.snapshots()


def test_a_manual_node_waits_for_a_person(operator: Operator) -> None:
    operator.write("base: {when: manual}")
    assert "when: now" in operator.apply(code=3).text
    assert operator.snapshots() == set()


def test_a_node_that_was_taken_and_is_gone_is_lost_until_it_is_forgotten(
    operator: Operator,
) -> None:
    operator.write(TREE)
    operator.apply()
    for name in ("b-1@patched", "b-1/disk1@patched"):
        shell("zfs", "release", "ckptree", f"{operator.home}/{name}")
        shell("zfs", "destroy", f"{operator.home}/{name}")
    outcome = operator.apply(code=3)
    assert "Lost" in outcome.text
    assert "b-1@patched" not in operator.snapshots()
    assert operator.ckptree("forget", "web", "patched").code == 0
    operator.apply()
    assert "b-1@patched" in operator.snapshots()


def test_a_changed_current_restores_all_disks_and_keeps_the_unsaved_state(
    operator: Operator,
) -> None:
    operator.write("base:")
    operator.apply()
    operator.guest_writes("worked")
    operator.write(TREE)
    operator.apply()
    operator.guest_writes("unsaved")
    operator.write(TREE, "current: base")
    operator.apply()
    assert operator.link == "b-2"
    assert operator.guest_sees() == "installed"
    assert {"b-1@base", "b-1@patched", "b-1/disk1@patched"} <= operator.snapshots()
    (saved,) = (name for name in operator.snapshots() if name.startswith("b-1@auto-"))
    assert saved.endswith("-before-base")
    assert operator.held(saved)
    assert operator.get(saved, "ckptree:expires").endswith("Z")
    assert (operator.get("b-2", "mounted"), operator.get("b-2", "canmount")) == ("yes", "on")
    assert (operator.get("b-1", "mounted"), operator.get("b-1", "canmount")) == ("no", "noauto")
    # And back again, to what was not in any checkpoint of the file.
    operator.write(TREE, f"current: {saved.partition('@')[2]}")
    operator.apply()
    assert operator.guest_sees() == "unsaved"


def test_an_unchanged_current_is_never_acted_on(operator: Operator) -> None:
    operator.write(TREE, "current: patched")
    operator.apply()
    operator.write(TREE + "      checkpoints:\n        later:\n", "current: patched")
    outcome = operator.apply()
    assert "CurrentBehindHead" in outcome.text
    assert operator.link == "b-1"


def test_again_goes_back_to_a_clean_current_once_more(operator: Operator) -> None:
    operator.write("base:", "current: base")
    operator.apply()
    operator.guest_writes("spoiled")
    operator.write("base:", "current: base", "restore: {again: second, unsaved: discard}")
    plan = operator.ckptree("plan")
    assert "LOST" in plan.text.upper()
    operator.apply()
    assert operator.guest_sees() == "installed"
    assert not any("auto-" in name for name in operator.snapshots())


def test_unsaved_state_makes_a_restore_wait_where_the_file_says_refuse(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    operator.guest_writes("unsaved")
    operator.write(TREE, "current: base", "restore: {unsaved: refuse}")
    assert "UnsavedState" in operator.apply(code=3).text
    assert operator.guest_sees() == "unsaved"


def test_without_a_journal_nothing_is_restored_or_retired_until_a_person_confirms(
    operator: Operator,
) -> None:
    operator.write(TREE)
    operator.apply()
    (operator.path / ".ckptree" / "journal.jsonl").unlink()
    operator.write("base: {checkpoints: {patched: {checkpoints: {more: }}}}", "current: base")
    outcome = operator.apply(code=3)
    assert "Unconfirmed" in outcome.text
    assert operator.link == "b-1"
    assert "b-1@more" in operator.snapshots()
    operator.apply("--confirm")
    assert operator.link == "b-2"


def test_a_removed_subtree_is_retired_revived_and_after_its_grace_destroyed(
    operator: Operator,
) -> None:
    operator.write(TREE)
    operator.apply()
    operator.write(TREE, "current: base")
    operator.apply()
    guid = operator.get("b-1@patched", "guid")
    operator.write("base:", "current: base")
    operator.apply()
    assert operator.get("b-1@patched", "ckptree:retired").endswith("Z")
    assert operator.held("b-1@patched")
    operator.write(TREE, "current: base")
    operator.apply()
    assert operator.get("b-1@patched", "ckptree:retired") == "-"
    assert operator.get("b-1@patched", "guid") == guid
    operator.write("base:", "current: base", "prune: {grace: 0}")
    operator.apply()
    assert operator.snapshots() == {"b-1@base", "b-1/disk1@base"}
    assert operator.guest_sees() == "installed"


def test_purge_destroys_what_is_retired_at_once_and_does_nothing_else(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    operator.write(TREE, "current: base")
    operator.apply()
    operator.write("base:", "current: base")
    operator.apply()
    assert "b-1@patched" in operator.snapshots()
    operator.write("base: {checkpoints: {fresh: }}", "current: base")
    assert operator.ckptree("purge", "web").code == 2
    assert operator.snapshots() == {"b-1@base", "b-1/disk1@base"}


def test_an_interior_node_of_one_line_is_spliced_out_on_its_own_branch(operator: Operator) -> None:
    operator.write("base: {checkpoints: {middle: {checkpoints: {top: }}}}")
    operator.apply()
    operator.write("base: {checkpoints: {top: }}", "prune: {grace: 0}")
    operator.apply()
    assert operator.snapshots() == {"b-1@base", "b-1@top", "b-1/disk1@base", "b-1/disk1@top"}


def test_an_interior_node_whose_one_line_is_a_clone_is_promoted_away(operator: Operator) -> None:
    operator.write("base: {checkpoints: {middle: {checkpoints: {left: }}}}")
    operator.apply()
    operator.write(
        "base: {checkpoints: {middle: {checkpoints: {left: , right: }}}}", "current: middle"
    )
    operator.apply()
    operator.write("base: {checkpoints: {right: }}", "prune: {grace: 0}")
    operator.apply()
    assert operator.datasets() == {"b-2", "b-2/disk1"}
    nodes = {"b-2@base", "b-2@right", "b-2/disk1@base", "b-2/disk1@right"}
    assert operator.snapshots() == nodes
    assert operator.guest_sees() == "installed"


def test_an_interior_node_of_several_lines_stays_pinned_and_says_so(operator: Operator) -> None:
    operator.write("base: {checkpoints: {middle: {checkpoints: {left: }}}}")
    operator.apply()
    operator.write(
        "base: {checkpoints: {middle: {checkpoints: {left: , right: }}}}", "current: middle"
    )
    operator.apply()
    operator.write("base: {checkpoints: {left: , right: }}", "prune: {grace: 0}")
    assert "Pinned" in operator.apply().text
    assert "b-1@middle" in operator.snapshots()


def test_the_ground_under_the_guest_cannot_be_removed(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    operator.write("base:")
    assert "WouldDropHead" in operator.apply(code=3).text
    assert operator.get("b-1@patched", "ckptree:retired") == "-"


def test_a_protected_node_goes_only_in_two_steps(operator: Operator) -> None:
    operator.write("base: {checkpoints: {kept: {protect: true}}}")
    operator.apply()
    assert operator.get("b-1@kept", "ckptree:protect") == "on"
    operator.write("base: {checkpoints: {kept: {protect: true}}}", "current: base")
    operator.apply()
    operator.write("base:", "current: base")
    assert "Protected" in operator.apply(code=3).text
    operator.write("base: {checkpoints: {kept: {protect: false}}}", "current: base")
    operator.apply()
    operator.write("base:", "current: base")
    operator.apply()
    assert operator.get("b-1@kept", "ckptree:retired").endswith("Z")


def test_too_many_removals_wait_for_approval(operator: Operator) -> None:
    operator.write("base: {checkpoints: {a: {checkpoints: {b: }}}}")
    operator.apply()
    operator.write("base: {checkpoints: {a: {checkpoints: {b: }}}}", "current: base")
    operator.apply()
    operator.write("base:", "current: base", "prune: {limit: 1}")
    outcome = operator.apply(code=3)
    assert "AwaitingApproval" in outcome.text
    digest = outcome.text.partition("ckptree approve web ")[2].split()[0].strip("',.")
    assert operator.ckptree("approve", "web", "0" * 12).code == 1
    assert operator.ckptree("approve", "web", digest).code == 0
    operator.apply()
    assert operator.get("b-1@a", "ckptree:retired").endswith("Z")


def test_an_emptied_tree_waits_for_approval_and_leaves_the_disks_alone(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    operator.write("", "prune: {grace: 0}")
    outcome = operator.apply(code=3)
    digest = outcome.text.partition("ckptree approve web ")[2].split()[0].strip("',.")
    assert operator.ckptree("approve", "web", digest).code == 0
    operator.apply()
    assert operator.snapshots() == set()
    assert operator.guest_sees() == "installed"


def test_an_empty_or_missing_document_changes_nothing(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    before = operator.everything()
    operator.document.write_text("# nothing\n")
    assert operator.ckptree("apply").code == 0
    operator.document.unlink()
    assert operator.ckptree("apply").code == 0
    assert operator.everything() == before
    assert "Released" in operator.ckptree("status").text


def test_an_invalid_document_changes_nothing_and_is_told_with_its_position(
    operator: Operator,
) -> None:
    operator.write(TREE)
    operator.apply()
    before = operator.everything()
    operator.document.write_text(operator.document.read_text() + "colour: red\n")
    outcome = operator.ckptree("apply")
    assert outcome.code == 1
    assert "web.yaml:8:1: " in outcome.err
    assert "Traceback" not in outcome.text
    assert operator.everything() == before


def test_other_names_for_the_same_nodes_are_a_suspected_rename(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    operator.write("base: {checkpoints: {updated: }}")
    assert "SuspectedRename" in operator.apply(code=3).text
    guid = operator.get("b-1@patched", "guid")
    operator.write("base: {checkpoints: {updated: {was: patched}}}")
    operator.apply()
    assert operator.get("b-1@patched", "ckptree:node") == "updated"
    assert operator.get("b-1@patched", "guid") == guid


def test_a_node_cannot_move_under_another_parent(operator: Operator) -> None:
    operator.write("base: {checkpoints: {a: {checkpoints: {b: }}}}")
    operator.apply()
    operator.write("base: {checkpoints: {a: , b: }}")
    assert "ParentImmutable" in operator.apply(code=3).text


def test_what_is_foreign_is_never_touched(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    operator.write(TREE, "current: base")
    operator.apply()
    shell("zfs", "snapshot", "-r", f"{operator.home}/b-1@byhand")
    shell("zfs", "clone", f"{operator.home}/b-1@patched", f"{operator.home}/mine")
    operator.write("base:", "current: base", "prune: {grace: 0}")
    outcome = operator.apply(code=3)
    assert "ForeignClone" in outcome.text
    assert f"{operator.home}/mine" in outcome.text
    assert {"b-1@byhand", "b-1/disk1@byhand", "b-1@patched"} <= operator.snapshots()
    shell("zfs", "destroy", f"{operator.home}/mine")
    operator.apply()
    assert {"b-1@byhand", "b-1/disk1@byhand"} <= operator.snapshots()
    assert "b-1@patched" not in operator.snapshots()


def test_a_foreign_snapshot_is_adopted_where_the_file_asks_for_it(operator: Operator) -> None:
    operator.write("base:")
    operator.apply()
    shell("zfs", "snapshot", "-r", f"{operator.home}/b-1@byhand")
    operator.write("base: {checkpoints: {upgrade: {adopt: byhand}}}")
    operator.apply()
    assert operator.get("b-1@byhand", "ckptree:node") == "upgrade"
    assert operator.held("b-1@byhand")
    assert operator.held("b-1/disk1@byhand")


def test_a_fork_is_made_offline_and_costs_nothing(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    operator.write(TREE + "    twin: {fork: true}\n")
    operator.apply()
    assert {"b-2@twin", "b-2/disk1@twin"} <= operator.snapshots()
    assert operator.get("b-2", "origin") == f"{operator.home}/b-1@base"
    assert operator.get("b-2", "mounted") == "no"
    assert operator.link == "b-1"


def test_a_lost_head_is_put_on_current_and_said_loudly(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    operator.write(TREE, "current: base")
    operator.apply()
    shell("zfs", "destroy", "-r", f"{operator.home}/b-2")
    outcome = operator.apply()
    assert "b-2" in outcome.text or "b-3" in outcome.text
    assert operator.guest_sees() == "installed"


def test_a_link_moved_by_hand_is_put_right_only_while_the_guest_is_off(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    with operator.running():
        (operator.path / "current").unlink()
        assert "LinkMoved" in operator.apply(code=3).text
        assert not (operator.path / "current").is_symlink()
    operator.apply()
    assert operator.link == "b-1"


def test_a_running_guest_is_neither_stopped_nor_restored_over(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    operator.write(TREE, "current: base")
    with operator.running():
        outcome = operator.apply(code=3)
        assert "GuestRunning" in outcome.text
        assert "sleep" in outcome.text
    operator.apply()
    assert operator.link == "b-2"


def test_a_checkpoint_under_a_running_guest_is_of_grade_crash(operator: Operator) -> None:
    operator.write("base:")
    with operator.running():
        operator.apply()
    assert operator.get("b-1@base", "ckptree:grade") == "crash"


def test_a_missing_hold_is_put_back(operator: Operator) -> None:
    operator.write(TREE)
    operator.apply()
    shell("zfs", "release", "ckptree", f"{operator.home}/b-1@base")
    assert operator.ckptree("plan").code == 2
    operator.apply()
    assert operator.held("b-1@base")


def test_required_memory_is_refused_where_it_cannot_be_had(operator: Operator) -> None:
    operator.write("base: {memory: required}")
    assert "MemoryUnavailable" in operator.apply(code=3).text


def test_a_home_of_another_host_is_left_alone_until_taken_over(operator: Operator) -> None:
    operator.write("base:")
    shell("zfs", "set", "ckptree:owner=another-host", operator.home)
    assert "OwnedElsewhere" in operator.apply(code=3).text
    assert operator.snapshots() == set()
    assert operator.ckptree("take-over", "web").code == 0
    operator.apply()


def test_a_saved_plan_is_carried_out_exactly_or_refused(operator: Operator, tmp_path: Path) -> None:
    operator.write("base:")
    saved = tmp_path / "plan.json"
    assert operator.ckptree("plan", "-o", str(saved)).code == 2
    shell("zfs", "snapshot", f"{operator.home}/b-1@base")
    outcome = operator.ckptree("apply", str(saved))
    assert outcome.code == 1
    assert "stale" in outcome.err
    shell("zfs", "destroy", f"{operator.home}/b-1@base")
    assert operator.ckptree("apply", str(saved)).code == 0
    assert operator.snapshots() == {"b-1@base", "b-1/disk1@base"}


def test_a_name_that_something_foreign_has_gets_a_suffix(operator: Operator) -> None:
    shell("zfs", "snapshot", f"{operator.home}/b-1@base")
    operator.write("base:")
    operator.apply()
    assert operator.get("b-1@base-2", "ckptree:node") == "base"
    assert operator.get("b-1@base", "ckptree:node") == "-"


def test_two_writers_take_turns(operator: Operator) -> None:
    operator.write("base:")
    journal = operator.path / ".ckptree" / "journal.jsonl"
    other = ["flock", str(journal), "sh", "-c", "echo locked; sleep 3"]
    with subprocess.Popen(other, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert "waiting for" in operator.apply().err


def test_init_makes_a_home_and_asks_for_the_disks(operator: Operator, tmp_path: Path) -> None:
    folder = tmp_path / "fresh"
    folder.mkdir()
    fresh = Operator(f"{operator.home}-fresh", folder, operator.write_path, ("disk1",))
    fresh.write("base:")
    outcome = fresh.ckptree("init", "web")
    assert outcome.code == 0, outcome.text
    assert f"put the disk image at {fresh.path}/current/disk0.img" in outcome.out
    assert f"zfs create -o volmode=dev -V SIZE {fresh.home}/b-1/disk1" in outcome.out
    assert "DiskMissing" in fresh.apply(code=3).text
    fresh.disk.write_bytes(bytes(1 << 20))
    shell("zfs", "create", "-o", "volmode=dev", "-V", "4M", f"{fresh.home}/b-1/disk1")
    outcome = fresh.ckptree("init", "web")
    assert outcome.code == 0, outcome.text
    assert "next:" not in outcome.out
    fresh.guest_writes("installed")
    fresh.apply()
    assert fresh.snapshots() == {"b-1@base", "b-1/disk1@base"}
    assert (fresh.path / "disk0.img").read_bytes()[:9] == b"installed"


def test_an_existing_dataset_becomes_a_home_without_copying(
    operator: Operator, tmp_path: Path
) -> None:
    home = f"{operator.home}-old"
    folder = tmp_path / "old"
    folder.mkdir()
    shell("zfs", "create", home)
    shell("zfs", "create", "-o", "volmode=dev", "-V", "4M", f"{home}/disk1")
    (Path("/run") / home / "disk0.img").write_bytes(b"kept".ljust(1 << 20, b"\0"))
    shell("zfs", "snapshot", "-r", f"{home}@before")
    guid = shell("zfs", "get", "-H", "-o", "value", "guid", home)
    old = Operator(home, folder, operator.write_path, ("disk1",))
    old.write("base:")
    outcome = old.ckptree("init", "web")
    assert outcome.code == 0, outcome.text
    assert old.get("b-1", "guid") == guid.strip()
    assert old.disk.read_bytes()[:4] == b"kept"
    assert (Path("/run") / home / "disk0.img").read_bytes()[:4] == b"kept"
    old.apply()
    assert {"b-1@before", "b-1@base", "b-1/disk1@base"} <= old.snapshots()
