"""The three files of a checkpoint: RAM, the state of kernel and devices, and the JSON that describes both.

What is written, in which order, and what remains of an attempt that fails is bhyve's vm_checkpoint(). Here F is the
real RAM, F.kern the real state of QEMU's processor and devices.
"""

from __future__ import annotations

import os
import time

from tests.doubles.host import complain, fail, number, on, word
from tests.doubles.machine import Machine
from tests.doubles.settings import Settings, pci_devices

KERNEL_STRUCTS = ["vhpet", "vm", "vioapic", "vlapic", "vmcx", "vatpit", "vatpic", "vpmtmr", "vrtc"]
SAVES = "hostbridge lpc virtio-blk virtio-net virtio-rnd ahci ahci-hd ahci-cd e1000 fbuf xhci"
LONGEST = 255  # NAME_MAX, which bhyve applies to the name with its extension
_CHUNK = 1 << 20
_ENOTSUP, _EFAULT = 45, 14


class Saved:
    """A checkpoint that was read: RAM of SIZE bytes in the open file MEMORY, the rest in the open file DEVICES."""

    def __init__(self, meta: str, memory: int, devices: int) -> None:
        """Understand the text of the .meta file; raises ValueError, KeyError or TypeError."""
        import json  # only a guest that resumes needs it

        told = json.loads(meta)
        about = told["basic metadata"]
        self.name = str(about["vmname"])
        self.cpus = int(about["ncpus"])
        self.size = int(about["memsize"])
        self.models = [str(entry["device"]) for entry in told["devices"]]
        places = [*told["kern_structs"], *told["devices"]]
        self.end = max(int(entry["size"]) + int(entry["file_offset"]) for entry in places)
        self.memory = memory
        self.devices = devices


def device_names(tree: Settings) -> list[str]:
    """Give the name of each device that has state, in the order of the checkpoint."""
    names = []
    for model, prefix in pci_devices(tree):
        kind = "hostbridge" if model == "amd_hostbridge" else model
        names.append(f"{kind}@{prefix}")
    lpc = any(model == "lpc" for model, _ in pci_devices(tree))
    return [*names, "atkbdc"] if lpc else names


def save(machine: Machine, tree: Settings, directory: int, filename: str) -> bool:
    """Write the checkpoint FILENAME in the open DIRECTORY; tells whether bhyve would take it for complete.

    The guest is held as "checkpoint" from the moment when its files are open; the caller releases it.
    """
    if len(filename) + len(".kern") > LONGEST:
        complain("Filename exceeds maximum length.")
        return False
    try:
        kern = _created(directory, f"{filename}.kern", fails=word("save_fails") == "kern")
    except OSError as error:
        complain(f"Failed to open kernel data snapshot file.: {error.strerror}")
        return False
    try:
        memory = _created(directory, filename, fails=word("save_fails") == "file")
    except OSError as error:
        complain(f"Failed to create checkpoint file: {error.strerror}")
        os.close(kern)
        return False
    meta = _created(directory, f"{filename}.meta")
    try:
        return _write(machine, tree, memory, kern, meta)
    except OSError as error:
        complain(f"Failed to write in file: {error.strerror}")
        complain("Could not write guest memory to file")
        return False
    finally:
        for descriptor in (kern, memory, meta):
            os.close(descriptor)


def _created(directory: int, filename: str, *, fails: bool = False) -> int:
    if fails:
        raise PermissionError(13, "Permission denied")
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    return os.open(filename, flags, 0o700, dir_fd=directory)


def _write(machine: Machine, tree: Settings, memory: int, kern: int, meta: int) -> bool:
    trouble, lie = word("save_fails"), word("save_lies")
    machine.hold("checkpoint")
    while trouble == "hang":
        time.sleep(3600)
    flags = 2 if tree.get("memory.wired") == "true" else 0
    about = f'"ncpus": {tree["cpus"]}, "vmname": "{tree["name"]}"'
    about += f', "memsize": {machine.size}, "memflags": {flags}'
    os.write(meta, f'{{\n  "basic metadata": {{{about}}}'.encode())
    if trouble == "pause":
        complain("Could not pause devices")
        return False
    _write_memory(machine, memory, short=trouble == "ram" or lie == "ram")
    if trouble == "ram":
        complain("Could not write guest memory to file")
        return False
    if trouble == "struct" or word("no_snapshot") == "kernel":
        complain("Failed to snapshot struct vhpet")
        complain("Failed to snapshot vm kernel data.")
        return False

    state = machine.save_devices()
    names = device_names(tree)
    share = len(state) // (len(KERNEL_STRUCTS) + len(names))
    entries = [
        f'{{"device": "{name}", "size": {share}, "file_offset": {share * index}}}'
        for index, name in enumerate([*KERNEL_STRUCTS, *names[:-1]])
    ]
    start = share * len(entries)
    size = len(state) - start
    entries.append(f'{{"device": "{names[-1]}", "size": {size}, "file_offset": {start}}}')
    count = len(KERNEL_STRUCTS)
    os.write(kern, state[: share * count])
    structs = ",\n    ".join(entries[:count])
    os.write(meta, f',\n  "kern_structs": [\n    {structs}\n  ],\n  "devices": ['.encode())
    for index, name in enumerate(names):
        if reason := refusal(name) or (trouble == "device" and _ENOTSUP):
            complain(f"Failed to snapshot {name}; ret={reason}")
            complain("Failed to snapshot device state.")
            return False
        os.write(meta, f"{',' if index else ''}\n    {entries[count + index]}".encode())
    if lie != "kern":
        os.write(kern, state[share * count :])
    if trouble == "meta":
        complain("Failed to finish the metadata file")
        return False
    if lie != "meta":
        os.write(meta, b"\n  ]\n}\n")
    return True


def refusal(name: str) -> int:
    """Give the error number with which the device NAME cannot be saved, 0 if it can."""
    model = name.partition("@")[0]
    if model == "ahci-hd" and on("ahci_not_set_up"):
        return _EFAULT
    if model not in SAVES.split() and name != "atkbdc":
        return _ENOTSUP
    return 0


def _write_memory(machine: Machine, file: int, *, short: bool) -> None:
    size = machine.size // 2 if short else machine.size
    chunks = -(-size // _CHUNK)
    pause = number("slow_save") / chunks
    for index in range(chunks):
        start = index * _CHUNK
        os.pwrite(file, os.pread(machine.ram, min(_CHUNK, size - start), start), start)
        if pause:
            time.sleep(pause)


def load(path: str) -> Saved:
    """Open the checkpoint PATH; what bhyve would not resume ends the program as bhyve ends."""
    last = f"Failed to read checkpoint info from file: '{path}'."
    if len(path) + len(".kern") > LONGEST:
        fail(
            1, "Filename exceeds maximum length.", "Failed to construct kernel data filename.", last
        )
    memory = _opened(path, "Failed to open restore file", "Failed to load guest RAM file.", last)
    kern = _opened(
        f"{path}.kern",
        "Failed to open kernel data file",
        "Failed to load guest kernel data file.",
        last,
    )
    try:
        with open(f"{path}.meta", encoding="utf-8") as file:
            saved = Saved(file.read(), memory, kern)
    except (OSError, ValueError, KeyError, TypeError):
        said = f"Failed to parse metadata file: '{path}.meta'"
        fail(1, said, "Failed to load guest metadata file.", last)
    if os.fstat(kern).st_size < saved.end:
        fail(1, "Failed to restore kernel structs.")
    return saved


def _opened(path: str, complaint: str, second: str, third: str) -> int:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        fail(1, f"{complaint}: {error.strerror}", second, third)
    if not os.fstat(file).st_size:
        fail(1, f"{path}: the file is empty.", second, third)
    return file


def fill(ram: int, saved: Saved) -> None:
    """Read the saved RAM into the memory file RAM, before any device looks at it."""
    if os.fstat(saved.memory).st_size != saved.size:
        fail(1, "mem size mismatch", "Failed to restore VM memory.")
    for start in range(0, saved.size, _CHUNK):
        chunk = os.pread(saved.memory, min(_CHUNK, saved.size - start), start)
        if chunk.count(0) != len(chunk):
            os.pwrite(ram, chunk, start)


def check_devices(saved: Saved, tree: Settings) -> None:
    """End the program if a device of now is not in the checkpoint; devices that only it has are no matter."""
    for name in device_names(tree):
        if name not in saved.models:
            fail(1, f"Failed to lookup dev: {name}", "Failed to restore PCI device state.")
