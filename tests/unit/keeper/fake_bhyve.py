"""A bhyve and a bhyvectl of a few lines: a guest that counts in memory and writes the count to its disk.

Installed as ``bhyve`` and ``bhyvectl`` into one folder, with ``run`` (the sockets) and ``vmm`` (the VM objects) beside
them, and ``old-bhyvectl`` for one that does not know --get-debug-cpus. The home may have: ``dump`` (the configuration),
``exit`` (the code with which the guest ends by itself), ``suspend-code``, ``deaf`` (to SIGTERM), ``mute`` (no socket),
``late`` (seconds until a connection to the stub is taken up), ``broken`` (ends with this text at the start), ``fault``:

  ret45       a device without a hook: RAM is written, the guest runs on
  cut         the index is not completed, bhyve ends all the same
  slow N      it takes N seconds
  reset       the guest resets instead of being suspended
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
RAM = 4096


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def dump(home: Path) -> dict[str, str]:
    lines = (home / "dump").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


class Guest:
    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.count = count
        self.home = Path.cwd()
        self.held = threading.Event()
        self.paused = threading.Lock()
        self.object = HERE / "vmm" / name

    def run(self) -> None:
        while True:
            time.sleep(0.002)
            with self.paused:
                if self.held.is_set():
                    continue
                if self.object.read_text() == "poweroff":
                    os._exit(1)
                with contextlib.suppress(FileNotFoundError):
                    code = int((self.home / "exit").read_text())
                    (self.home / "exit").unlink()
                    if code < 0:
                        os.kill(os.getpid(), -code)
                    os._exit(code)
                self.count += 1
                (self.home / "disk").write_text(str(self.count))

    def serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            message = connection.makefile().readline()
            if message:
                self.save(**json.loads(message))
            else:
                say("nvlist_recv() failed: Socket is not connected")
            connection.close()

    def save(self, filename: str, suspend: bool) -> None:
        fault = (self.home / "fault").read_text() if (self.home / "fault").exists() else ""
        with self.paused:
            if fault == "reset":
                os._exit(0)
            files = [Path(f"{filename}{end}").open("wb") for end in (".kern", "", ".meta")]  # noqa: SIM115
            files[1].write(str(self.count).encode().ljust(RAM))
            files[1].flush()
            if fault.startswith("slow"):
                time.sleep(float(fault.split()[1]))
            if fault == "ret45":
                say("Failed to snapshot nvme@pci.0.4.0; ret=45")
                return
            devices = [key[:-7] for key in dump(self.home) if key.endswith(".device")]
            index = {
                "basic metadata": {"ncpus": 1, "vmname": self.name, "memsize": RAM, "memflags": 0},
                "kern_structs": [{"device": "vhpet", "size": 100, "file_offset": 0}],
                "devices": [
                    {"device": f"x@{address}", "size": 10, "file_offset": 100 + 10 * number}
                    for number, address in enumerate(devices)
                ],
            }
            files[0].write(b"k" * (100 + 10 * len(devices)))
            text = json.dumps(index)
            files[2].write(text[: -20 if fault == "cut" else None].encode())
            for file in files:
                file.close()
            if suspend:
                self.object.unlink()
                code = self.home / "suspend-code"
                os._exit(int(code.read_text()) if code.exists() else 5)

    def stub(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            if (self.home / "late").exists():
                time.sleep(float((self.home / "late").read_text()))
            if self.held.is_set():
                connection.close()
                continue
            self.held.set()
            self.object.write_text("held")
            threading.Thread(target=self.hold, args=(connection,), daemon=True).start()

    def hold(self, connection: socket.socket) -> None:
        while connection.recv(100) not in {b"", b"go on"}:
            pass
        self.held.clear()
        connection.close()
        with contextlib.suppress(FileNotFoundError):
            if self.object.read_text() == "held":
                self.object.write_text("")


def bhyve(arguments: list[str]) -> None:
    home, name = Path.cwd(), arguments[-1]
    if "config.dump=1" in arguments:
        sys.stdout.write((home / "dump").read_text())
        sys.exit(1)
    with (home / "launches").open("a") as file:
        file.write(" ".join(arguments) + "\n")
    if (home / "broken").exists():
        say((home / "broken").read_text())
        sys.exit(4)
    count, settings = 0, dump(home)
    if "-r" in arguments:
        path = arguments[arguments.index("-r") + 1]
        try:
            json.loads(Path(f"{path}.meta").read_text())
            count = int(Path(path).read_text())
        except (OSError, ValueError):
            say("Failed to read checkpoint info from file")
            sys.exit(1)
    guest = Guest(name, count)
    if "lpc.bootrom" not in settings and not guest.object.exists():
        say("virtual machine cannot be booted")
        sys.exit(4)
    guest.object.write_text("")

    def power_button(number: int, frame: object) -> None:  # noqa: ARG001
        if not (home / "deaf").exists():
            os._exit(1)

    signal.signal(signal.SIGTERM, power_button)
    if "gdb.port" in settings:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(settings["gdb.port"])))
        listener.listen()
        threading.Thread(target=guest.stub, args=(listener,), daemon=True).start()
    if not (home / "mute").exists():
        served_at = HERE / "run" / name
        served_at.unlink(missing_ok=True)
        served = socket.socket(socket.AF_UNIX)
        served.bind(str(served_at))
        served.listen()
        threading.Thread(target=guest.serve, args=(served,), daemon=True).start()
    guest.run()


def bhyvectl(arguments: list[str]) -> None:
    if not arguments:
        say("Usage: bhyvectl --vm=<vmname>\n       [--suspend=<filename>]")
        sys.exit(1)
    name = arguments[0].removeprefix("--vm=")
    verb, _, filename = arguments[1].partition("=")
    vm = HERE / "vmm" / name
    if verb == "--create":
        vm.write_text("")
    elif not vm.exists():
        say(f"vm_open: {name} could not be opened: No such file or directory")
        sys.exit(1)
    elif verb == "--destroy":
        vm.unlink()
    elif "--get-debug-cpus" in arguments:
        if (HERE / "old-bhyvectl").exists():
            say("bhyvectl: unrecognized option `--get-debug-cpus'")
            sys.exit(1)
        with (HERE / "looks").open("a") as file:
            file.write("x")
        held = " 0" if vm.read_text() == "held" else " (none)"
        sys.stdout.write(f"active cpus:\t 0\ndebug cpus:\t{held}\n")
    elif verb == "--force-poweroff":
        vm.write_text("poweroff")
    else:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(HERE / "run" / name))
        except OSError as error:
            sys.stdout.write(f"errno = {error.errno}\n")
            say(f"connect() failed: {error.strerror}")
            sys.exit(error.errno)
        message = {"filename": filename, "suspend": verb == "--suspend"}
        connection.sendall(json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    {"bhyve": bhyve, "bhyvectl": bhyvectl}[Path(__file__).name](sys.argv[1:])
