"""The double of sysctl: the few facts of the pretended kernel."""

from __future__ import annotations

import os
import sys

from tests.doubles.host import complain, on, switches, word

_FACTS = {
    "hw.model": "AMD EPYC-Rome Processor",
    "kern.osreldate": "1501502",
    "kern.ostype": "FreeBSD",
    "kern.hostuuid": "5f0c0a54-9d0c-4a3a-8f5b-000000000001",
}
_KERNEL = ("ident\tGENERIC", "machine\tamd64", "cpu\tHAMMER", "options\tSCHED_ULE", "device\tvmm")


def main() -> None:
    """Be sysctl."""
    names = [word for word in sys.argv[1:] if not word.startswith("-")]
    bare = any("n" in word for word in sys.argv[1:] if word.startswith("-"))
    code = 0
    for name in names:
        value = _value(name)
        if value is None:
            complain(f"sysctl: unknown oid '{name}'")
            code = 1
        else:
            print(value if bare else f"{name}: {value}")
    sys.stdout.flush()
    os._exit(code)


def _value(name: str) -> str | None:
    changed = switches().get("sysctl")
    if isinstance(changed, dict) and name in changed:
        return None if changed[name] is None else str(changed[name])
    if name == "kern.conftxt":
        if on("no_conftxt"):
            return None
        knows = word("no_snapshot") not in ("kernel", "both")
        return "\n".join([*_KERNEL, *(["options\tBHYVE_SNAPSHOT"] if knows else [])])
    return _FACTS.get(name)
