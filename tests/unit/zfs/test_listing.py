"""What the ``zfs`` command prints, whole and broken."""

from reconciler.drivers.zfs.listing import ASKED, parse, parse_holds, parse_local
from reconciler.model.observed import DatasetKind
from reconciler.names import Dataset, Snapshot

HOME = "zroot/vm/web"
BRANCH = f"{HOME}/b-1"
NODE = f"{BRANCH}@base"
LOCAL = "local"

FILESYSTEM = {
    "type": "filesystem",
    "guid": "17293822569102704641",
    "createtxg": "42",
    "mounted": "yes",
    "mountpoint": "/vm/web/b-1",
    "canmount": "noauto",
    "used": "4096",
    "referenced": "2048",
    "written": "1024",
}
SNAPSHOT = {
    "type": "snapshot",
    "guid": "7",
    "createtxg": "43",
    "used": "0",
    "referenced": "2048",
    "written": "2048",
    "userrefs": "1",
    "defer_destroy": "off",
    "clones": f"{HOME}/b-3,{HOME}/b-2",
}


def rows(name: str, values: dict[str, str], sources: dict[str, str] | None = None) -> str:
    origin = sources or {}
    return "".join(
        f"{name}\t{key}\t{values.get(key, '-')}\t{origin.get(key, '-')}\n" for key in ASKED
    )


def test_a_filesystem() -> None:
    (facts,) = parse(rows(BRANCH, FILESYSTEM)).datasets
    assert (facts.name, facts.kind) == (Dataset(BRANCH), DatasetKind.FILESYSTEM)
    assert (facts.guid, facts.createtxg) == (17293822569102704641, 42)
    assert (facts.mounted, facts.mountpoint, facts.canmount) == (True, "/vm/web/b-1", "noauto")
    assert (facts.used, facts.referenced, facts.written) == (4096, 2048, 1024)
    assert facts.origin is None


def test_a_snapshot() -> None:
    listing = parse(rows(NODE, SNAPSHOT))
    (facts,) = listing.snapshots
    assert facts.name == Snapshot(NODE)
    assert facts.clones == (Dataset(f"{HOME}/b-2"), Dataset(f"{HOME}/b-3"))
    assert listing.held == {Snapshot(NODE): 1}
    assert not facts.deferred


def test_a_volume_has_no_mountpoint() -> None:
    values = {**FILESYSTEM, "type": "volume", "mounted": "-", "mountpoint": "-", "canmount": "-"}
    (facts,) = parse(rows(f"{BRANCH}/disk", values)).datasets
    assert (facts.kind, facts.mounted, facts.mountpoint) == (DatasetKind.VOLUME, False, None)


def test_legacy_and_none_are_no_mountpoint() -> None:
    for text in ("legacy", "none"):
        (facts,) = parse(rows(HOME, {**FILESYSTEM, "mountpoint": text})).datasets
        assert facts.mountpoint is None


def test_only_what_was_set_here_counts() -> None:
    values = {**SNAPSHOT, "ckptree:node": "base", "ckptree:vm": "web", "ckptree:branch": "1"}
    sources = {"ckptree:node": LOCAL, "ckptree:vm": f"inherited from {BRANCH}"}
    (facts,) = parse(rows(NODE, values, {**sources, "ckptree:branch": "received"})).snapshots
    assert facts.properties == {"ckptree:node": "base"}


def test_values_are_decoded() -> None:
    values = {**SNAPSHOT, "ckptree:about": "a%09b%0A100%25", "ckptree:labels": ""}
    sources = {"ckptree:about": LOCAL, "ckptree:labels": LOCAL}
    (facts,) = parse(rows(NODE, values, sources)).snapshots
    assert facts.properties == {"ckptree:about": "a\tb\n100%", "ckptree:labels": ""}


def test_tabs_and_newlines_of_strangers_spoil_nothing() -> None:
    evil = f"x\ty\n\n{BRANCH}\tguid\t5\t-\nz"
    text = rows(HOME, {**FILESYSTEM, "ckptree:about": evil}, {"ckptree:about": LOCAL})
    text += rows(BRANCH, {**FILESYSTEM, "ckptree:protect": evil, "ckptree:expires": evil})
    text += rows(NODE, SNAPSHOT)
    listing = parse(text)
    assert not listing.gaps
    home, branch = listing.datasets
    assert home.properties == {"ckptree:about": evil}
    assert branch.guid == 17293822569102704641
    assert len(listing.snapshots) == 1


def test_a_value_that_looks_like_another_object_leaves_a_gap() -> None:
    evil = f"x\n{BRANCH}\ttype\tfilesystem\t-\n"
    text = rows(HOME, {**FILESYSTEM, "ckptree:about": evil}, {"ckptree:about": LOCAL})
    listing = parse(text + rows(NODE, SNAPSHOT))
    assert [gap.name for gap in listing.gaps] == [HOME, BRANCH]
    assert listing.datasets == []
    assert len(listing.snapshots) == 1


def test_what_does_not_parse_is_a_gap() -> None:
    for key, value in (
        ("guid", "-"),
        ("createtxg", "soon"),
        ("type", "bookmark"),
        ("origin", "zroot/vm"),
    ):
        listing = parse(rows(HOME, {**FILESYSTEM, key: value}) + rows(NODE, SNAPSHOT))
        assert [gap.name for gap in listing.gaps] == [HOME], key
        assert listing.datasets == []
        assert len(listing.snapshots) == 1


def test_a_listing_that_was_cut_off() -> None:
    whole = rows(HOME, FILESYSTEM) + rows(BRANCH, FILESYSTEM)
    for length in range(len(rows(HOME, FILESYSTEM)) + 40, len(whole) - 2, 7):
        listing = parse(whole[:length])
        assert [facts.name for facts in listing.datasets] == [HOME]
        assert [gap.name for gap in listing.gaps] == [BRANCH]


def test_a_list_of_clones_that_was_cut_off() -> None:
    values = {**SNAPSHOT, "clones": ",".join(f"{HOME}/b-{number}" for number in range(1000))[:8191]}
    assert [gap.name for gap in parse(rows(NODE, values)).gaps] == [NODE]


def test_a_guid_printed_as_a_negative_number() -> None:
    (facts,) = parse(rows(HOME, {**FILESYSTEM, "guid": "-1"})).datasets
    assert facts.guid == (1 << 64) - 1


def test_nothing() -> None:
    listing = parse("")
    assert not listing.datasets + listing.snapshots + listing.gaps


def test_holds() -> None:
    asked = [Snapshot(NODE), Snapshot(f"{BRANCH}@other")]
    text = (
        f"{NODE}\tckptree\tMon Nov 23 18:07 2026\n"
        f"{NODE}\tits\town\tMon Nov 23 18:07 2026\n"
        f"{BRANCH}@never-asked\tx\tMon Nov 23 18:07 2026\n"
    )
    found = parse_holds(text, asked)
    assert found == {asked[0]: {"ckptree", "its\town"}, asked[1]: frozenset()}


def test_local_properties() -> None:
    text = f"{HOME}\tckptree:vm\tweb\tlocal\n{BRANCH}\tckptree:vm\tweb\tinherited from {HOME}\n\n"
    assert parse_local(text, ["ckptree:vm"]) == {HOME: {"ckptree:vm": "web"}}
