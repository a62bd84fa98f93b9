"""The order that a keeper works by: one JSON line on its standard input, checked here.

The settings of a kind of machine are the machine's to understand; the functions here read them out one by one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.errors import StepFailed
from reconciler.names import VmName


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Whose guest is kept, and where: HOME is a mountpoint, SOCKET and LOG are absolute paths.

    KIND names the machine; WHOLE is the order as it came, for the machine to read; DIGEST tells it from another one, as
    the client has it. A GUARD does not start the guest,
    it holds one that runs already, once, and ends.
    """

    vm: str
    home: str
    socket: str
    log: str
    kind: str
    guard: bool
    digest: str
    whole: Mapping[str, object]


def parse_order(line: str) -> Order:
    """Read an order; raises StepFailed."""
    try:
        whole = json.loads(line)
    except ValueError as error:
        raise StepFailed("the keeper's order is not JSON") from error
    if not isinstance(whole, dict):
        raise StepFailed("the keeper's order is not a JSON object")
    paths = {key: text(whole, key) for key in ("home", "socket", "log")}
    for key, path in paths.items():
        if not path.startswith("/"):
            raise StepFailed(f"the keeper's order has no absolute path as '{key}', but {path!r}")
    return Order(
        vm=VmName(text(whole, "vm")),
        kind=text(section(whole, "machine"), "kind"),
        guard=whole.get("guard") is True,
        digest=optional_text(whole, "digest") or "",
        whole=whole,
        **paths,
    )


def section(settings: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Read the object KEY; raises StepFailed if there is none."""
    value = settings.get(key)
    if not isinstance(value, dict):
        raise StepFailed(f"the keeper's order has no object '{key}'")
    return value


def text(settings: Mapping[str, object], key: str) -> str:
    """Read the text KEY; raises StepFailed if there is none, or an empty one."""
    value = optional_text(settings, key)
    if not value:
        raise StepFailed(f"the keeper's order has no text '{key}'")
    return value


def optional_text(settings: Mapping[str, object], key: str) -> str | None:
    """Read the text KEY, none if it is absent or null; raises StepFailed if it is something else."""
    value = settings.get(key)
    if value is not None and not (isinstance(value, str) and "\0" not in value):
        raise StepFailed(f"the keeper's order has something else than a text as '{key}'")
    return value


def words(settings: Mapping[str, object], key: str) -> tuple[str, ...]:
    """Read the argument list KEY, empty if it is absent; raises StepFailed if it is no list of texts."""
    value = settings.get(key, [])
    if not isinstance(value, list) or not all(
        isinstance(word, str) and "\0" not in word for word in value
    ):
        raise StepFailed(f"the keeper's order has no list of texts as '{key}'")
    return tuple(value)
