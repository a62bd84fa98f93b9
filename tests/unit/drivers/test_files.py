"""The link, the links to volumes and the disks of a branch, on a real file system."""

from pathlib import Path

import pytest

from reconciler.drivers import files as module
from reconciler.drivers.files import RealFiles
from reconciler.errors import StepFailed
from reconciler.model.observed import LinkAbsent, LinkTo, LinkUnknown
from reconciler.names import Dataset

BRANCH = Dataset("tank/vm/web/b-1")


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /dev/zvol, with one volume."""
    folder = tmp_path / "zvol"
    (folder / BRANCH).mkdir(parents=True)
    (folder / BRANCH / "disk1").touch()
    monkeypatch.setattr(module, "_DEVICES", folder)
    monkeypatch.setattr(module, "_DEVICE_SECONDS", 0.05)
    return folder


def test_the_link_is_read_as_it_is_written(tmp_path: Path) -> None:
    files = RealFiles()
    assert files.read_link(str(tmp_path)) == LinkAbsent()
    (tmp_path / "current").symlink_to("b-7")
    assert files.read_link(str(tmp_path)) == LinkTo("b-7")


def test_a_home_that_is_not_there_has_an_unknown_link(tmp_path: Path) -> None:
    assert isinstance(RealFiles().read_link(str(tmp_path / "nowhere")), LinkUnknown)


def test_a_folder_in_the_place_of_the_link_is_unknown_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    found = RealFiles().read_link(str(tmp_path))
    assert isinstance(found, LinkUnknown)
    assert "not a symbolic link" in found.reason
    with pytest.raises(StepFailed, match="in the way"):
        RealFiles().switch_link(str(tmp_path), "b-2")


def test_the_link_is_switched_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    files = RealFiles()
    files.switch_link(str(tmp_path), "b-1")
    (tmp_path / ".current.ckptree-new").symlink_to("left by a crash")
    files.switch_link(str(tmp_path), "b-2")
    assert files.read_link(str(tmp_path)) == LinkTo("b-2")
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


def test_links_to_volumes_lead_to_the_branchs_own(tmp_path: Path, devices: Path) -> None:
    branch = tmp_path / "b-1"
    branch.mkdir()
    (branch / "disk1").symlink_to("/dev/zvol/of/another/branch")
    files = RealFiles()
    assert files.missing(str(branch), BRANCH, [], ["disk1"]) == ["disk1"]
    files.prepare(str(branch), BRANCH, [], ["disk1"])
    assert (branch / "disk1").readlink() == devices / BRANCH / "disk1"
    assert files.missing(str(branch), BRANCH, [], ["disk1"]) == []


@pytest.mark.usefixtures("devices")
def test_a_branch_without_its_disks_is_not_made_ready(tmp_path: Path) -> None:
    branch = tmp_path / "b-1"
    branch.mkdir()
    with pytest.raises(StepFailed, match=r"disk0\.img, images/data\.img"):
        RealFiles().prepare(str(branch), BRANCH, ["disk0.img", "images/data.img"], [])
    with pytest.raises(StepFailed, match="has no disk2"):
        RealFiles().prepare(str(branch), BRANCH, [], ["disk2"])


def test_the_homes_own_links_lead_through_the_link(tmp_path: Path) -> None:
    (tmp_path / "real.img").write_text("a file of the operator")
    made = RealFiles().link_disks(str(tmp_path), ["disk0.img", "real.img", "images/data.img"])
    assert made == ["disk0.img"]
    assert (tmp_path / "disk0.img").readlink() == Path("current/disk0.img")
    assert (tmp_path / "real.img").read_text() == "a file of the operator"
    assert RealFiles().link_disks(str(tmp_path), ["disk0.img"]) == []


def test_a_disk_that_lies_elsewhere_is_none_of_the_branch(tmp_path: Path) -> None:
    branch = tmp_path / "b-1"
    branch.mkdir()
    (tmp_path / "elsewhere.img").touch()
    (branch / "disk0.img").symlink_to(tmp_path / "elsewhere.img")
    assert RealFiles().missing(str(branch), BRANCH, ["disk0.img"], []) == ["disk0.img"]
    (branch / "real.img").touch()
    (branch / "alias.img").symlink_to("real.img")
    assert RealFiles().missing(str(branch), BRANCH, ["real.img", "alias.img"], []) == []
