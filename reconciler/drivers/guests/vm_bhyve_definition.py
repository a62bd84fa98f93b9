"""What a guest of vm-bhyve is made of, out of its conf, in the words of ``bhyve_definition``.

The devices are those that vm-bhyve gives to bhyve (``vm::bhyve_device_*`` in lib/vm-run), each by its key in the
conf: people know it by that, and the PCI slots follow from the order of the keys and a few more.
"""

from collections.abc import Iterator
from dataclasses import replace

from reconciler.drivers.guests.bhyve_definition import Definition, Device, read_definition
from reconciler.drivers.guests.vm_bhyve_conf import Conf
from reconciler.model.desired import Bhyve

_LAYOUT = ("hostbridge", "start_slot", "ahci_device_limit", "fwcfg")
"""Keys that change where devices are."""
_EXTRAS = (("virt_random", "virtio-rnd"), ("xhci_mouse", "xhci"), ("sound", "hda"))


def definition_of(conf: Conf, guest: str, home: str) -> Definition:
    """Find out what GUEST is made of. Never raises: what cannot be read counts as absent."""
    cpus = [conf.get("cpu", "1")]
    cpus += [
        f"{unit}={conf.get(f'cpu_{unit}')}"
        for unit in ("sockets", "cores", "threads")
        if conf.get(f"cpu_{unit}")
    ]
    arguments = ("-c", ",".join(cpus), "-m", conf.get("memory"), *conf.get("bhyve_options").split())
    plain = read_definition(Bhyve(args=arguments), guest, home)
    return replace(
        plain,
        devices=(*_devices(conf), *plain.devices),
        bootrom=plain.bootrom or _has_firmware(conf),
        coms=tuple(conf.get("comports", "com1").split()),
    )


def _has_firmware(conf: Conf) -> bool:
    return conf.get("loader").partition("-")[0] == "uefi"


def _devices(conf: Conf) -> Iterator[Device]:
    for key in _LAYOUT:
        if conf.get(key):
            yield Device(key, conf.get(key))
    for disk in conf.disks:
        yield Device(f"disk{disk.number}", disk.type)
        if options := conf.get(f"disk{disk.number}_opts"):
            yield Device(f"disk{disk.number}_opts", options)
    yield from _numbered(conf, "network{}_type")
    yield from (Device(key, model) for key, model in _EXTRAS if conf.flag(key))
    yield from (Device(device.address, "passthru") for device in _numbered(conf, "passthru{}"))
    if conf.flag("graphics") and _has_firmware(conf):
        yield Device("graphics", "fbuf")
    if conf.get("virt_console0"):
        yield Device("virt_console0", "virtio-console")


def _numbered(conf: Conf, key: str) -> Iterator[Device]:
    """The values of KEY with 0, 1, ... put in, up to the first that is missing."""
    number = 0
    while value := conf.get(key.format(number)):
        yield Device(key.format(number).removesuffix("_type"), value)
        number += 1
