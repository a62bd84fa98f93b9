"""What a guest of vm-bhyve is made of, by the keys of its conf."""

import pytest

from reconciler.drivers.guests.vm_bhyve_conf import Conf
from reconciler.drivers.guests.vm_bhyve_definition import definition_of

BASIC = 'loader="bhyveload"\ncpu=2\nmemory=512M\ndisk0_type="virtio-blk"\ndisk0_name="a"\n'


def digest(text: str) -> str:
    return definition_of(Conf(text), "web", "/vm/web").digest


def test_size_and_devices() -> None:
    found = definition_of(
        Conf(
            f"{BASIC}network0_type=virtio-net\nnetwork1_type=e1000\nvirt_random=yes\nxhci_mouse=no\n"
            'cpu_sockets=1\ncpu_cores=2\nbhyve_options="-S -G w127.0.0.1:5555 -s 30,virtio-9p,x=/y"\n'
        ),
        "web",
        "/vm/web",
    )
    assert (found.memory, found.cpus, found.stub) == (512 << 20, 2, ("127.0.0.1", 5555))
    assert [(device.address, device.model) for device in found.devices] == [
        ("disk0", "virtio-blk"),
        ("network0", "virtio-net"),
        ("network1", "e1000"),
        ("virt_random", "virtio-rnd"),
        ("pci.0.30.0", "virtio-9p"),
    ]
    assert found.without_save_hook == ("virtio-9p (pci.0.30.0)",)
    assert not found.bootrom
    assert found.coms == ("com1",)


def test_devices_that_bhyve_cannot_save_are_named_by_their_keys() -> None:
    more = 'sound=yes\nvirt_console0="yes"\npassthru0="4/0/0"\npassthru1="4/0/1"\ndisk1_name=b\ndisk1_type=nvme\n'
    found = definition_of(Conf(BASIC + more), "web", "/vm/web")
    assert found.without_save_hook == (
        "nvme (disk1)",
        "hda (sound)",
        "passthru (passthru0)",
        "passthru (passthru1)",
        "virtio-console (virt_console0)",
    )


def test_a_display_needs_firmware() -> None:
    assert "fbuf" not in str(definition_of(Conf(f"{BASIC}graphics=yes\n"), "web", "/vm/web"))
    uefi = BASIC.replace("bhyveload", "uefi-csm")
    found = definition_of(Conf(f"{uefi}graphics=yes\n"), "web", "/vm/web")
    assert found.bootrom
    assert found.devices[-1].model == "fbuf"


@pytest.mark.parametrize(
    "change",
    [
        "network0_type=virtio-net\n",
        "start_slot=5\n",
        "comports=com1 com2\n",
        "hostbridge=amd\n",
        "disk1_name=b\ndisk1_type=virtio-blk\n",
    ],
)
def test_what_changes_the_devices_changes_the_digest(change: str) -> None:
    assert digest(BASIC + change) != digest(BASIC)


@pytest.mark.parametrize("change", ["notes=x\n", "network0_mac=58:9c:fc:00:00:01\n", "uuid=x\n"])
def test_what_does_not_change_them_does_not(change: str) -> None:
    assert digest(BASIC + change) == digest(BASIC)


def test_an_empty_conf_is_no_error() -> None:
    assert definition_of(Conf(""), "web", "/vm/web").devices == ()
