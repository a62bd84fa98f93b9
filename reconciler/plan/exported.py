"""What was observed, as JSON: complete enough to plan elsewhere, without the host and without ZFS.

`ckptree tree --json` writes it, below the key ``observation`` of each tree; `ckptree plan --diff` reads it. A plan made
from what comes back is the same, to the digest, as one made on the host. Nothing here opens a file.

The form is that of ``model.observed.Observation`` with everything in it (``model.journal.JournalFacts`` included),
field by field under the same names, and beside it:

``version``
    VERSION. It is raised with every change of those classes: a reader of another version refuses, as a plan from half
    of the facts would be a wrong one. So are keys that it does not know.
``at``
    When it was observed; the moment that plans from it are made for.
``windows``
    The maintenance windows of the host's settings (``model.windows``), which plans depend on too.

Sizes are bytes, moments UTC as ``2026-11-23T18:00:00Z``, hours ``22:00:00``. A whole number of more than 53 bits, as
guids are, is text, so that no other program rounds it. A member of a union (``link``) tells its class as ``kind``.

What is in it: names and sizes below the home, the ckptree: properties (texts of operators among them), what the
journal boils down to, what the hypervisor can do, and who was seen using the disks. What is not: the contents of any
file, the memory of a guest (only its file's name within the branch), and the arguments of hooks, which may be secret.
"""

import json
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, time
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from reconciler.errors import CkptreeError
from reconciler.model.observed import Link, Observation
from reconciler.model.properties import decode_time, encode_time
from reconciler.model.windows import ALWAYS, Windows
from reconciler.names import Dataset, NodeName, Snapshot, VmName
from reconciler.plan.document import Json

if TYPE_CHECKING:
    from cattrs import Converter

_Form = TypeVar("_Form")

VERSION = 1
_MAKE_ANEW = "make it anew with 'ckptree tree --json'"
_EXACT = (
    1 << 53
)  # whole numbers up to here are the same in every reader of JSON (RFC 8259, section 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """An OBSERVATION, the moment AT which it was made, and the WINDOWS of its host."""

    observation: Observation
    at: datetime
    windows: Windows = ALWAYS


def observation_json(
    observation: Observation, at: datetime, windows: Windows = ALWAYS
) -> dict[str, Json]:
    """Write OBSERVATION, made AT a moment on a host with WINDOWS, as JSON values."""
    journal = observation.journal
    if journal.hooks is not None:
        begun = replace(journal.hooks, after=journal.hooks.after[:1])
        observation = replace(observation, journal=replace(journal, hooks=begun))
    converter = _converter()
    body: dict[str, Json] = {
        "version": VERSION,
        "at": encode_time(at),
        "windows": converter.unstructure(windows, Windows),
    }
    body.update(converter.unstructure(observation, Observation))
    return body


def read_observations(text: str, file: str) -> tuple[Exported, ...]:
    """Read every observation in TEXT, the output of `ckptree tree --json`.

    Raises CkptreeError that says where in FILE, by line and column or by the keys that lead there, what is wrong.
    """
    try:
        body = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{file}:{error.lineno}:{error.colno}"
        raise CkptreeError(f"{where}: this is not JSON: {error.msg} ({_MAKE_ANEW})") from error
    except RecursionError as error:
        raise CkptreeError(f"{file}: this is nested too deeply ({_MAKE_ANEW})") from error
    trees = body.get("trees") if isinstance(body, dict) else None
    if not isinstance(trees, list):
        raise CkptreeError(f"{file}: there is no list 'trees' in it ({_MAKE_ANEW})")
    return tuple(_read(tree, f"{file}: trees[{number}]") for number, tree in enumerate(trees))


def _read(tree: object, where: str) -> Exported:
    body = tree.get("observation") if isinstance(tree, dict) else None
    if not isinstance(body, dict):
        raise CkptreeError(f"{where}.observation: there is none ({_MAKE_ANEW})")
    where = f"{where}.observation"
    if body.get("version") != VERSION:
        raise CkptreeError(
            f"{where}.version: {body.get('version')!r}, and this ckptree reads {VERSION}"
            " (use the same version of ckptree here and on the host)"
        )
    rest = {key: value for key, value in body.items() if key not in {"version", "at", "windows"}}
    return Exported(
        observation=_structure(rest, Observation, where),
        at=_structure(body.get("at"), datetime, f"{where}.at"),
        windows=_structure(body.get("windows"), Windows, f"{where}.windows"),
    )


def _structure(body: object, form: type[_Form], where: str) -> _Form:
    from cattrs import transform_error

    try:
        return _converter().structure(body, form)
    except Exception as error:
        first = next(iter(transform_error(error, "", _complaint)), "")
        what, _, path = first.rpartition(" @ ")
        raise CkptreeError(f"{where}{path}: {what or 'this is wrong'} ({_MAKE_ANEW})") from error


def _complaint(error: BaseException, form: type | None) -> str:
    from cattrs.v import format_exception

    if isinstance(error, CkptreeError):
        return str(error)
    if isinstance(error, AttributeError | TypeError):
        return "this is of another type than it must be"
    return format_exception(error, form)


@cache
def _converter() -> "Converter":
    from cattrs import Converter
    from cattrs.strategies import configure_tagged_union

    converter = Converter(
        forbid_extra_keys=True,
        unstruct_collection_overrides={AbstractSet: lambda items: sorted(items, key=str)},
    )
    for name in (VmName, NodeName, Dataset, Snapshot):
        converter.register_unstructure_hook(name, str)
        converter.register_structure_hook(name, _parsed(name))
    converter.register_structure_hook(str, lambda text, _: _exactly(text, str))
    converter.register_structure_hook(bool, lambda value, _: _exactly(value, bool))
    converter.register_unstructure_hook(bool, bool)
    converter.register_structure_hook(int, lambda number, _: _whole(number))
    converter.register_unstructure_hook(
        int, lambda number: number if -_EXACT < number < _EXACT else str(number)
    )
    converter.register_structure_hook(datetime, lambda text, _: decode_time(_exactly(text, str)))
    converter.register_unstructure_hook(datetime, encode_time)
    converter.register_structure_hook(time, lambda text, _: time.fromisoformat(_exactly(text, str)))
    converter.register_unstructure_hook(time, time.isoformat)
    configure_tagged_union(Link, converter, tag_name="kind")
    return converter


def _parsed(name: Callable[[str], _Form]) -> Callable[[object, object], _Form]:
    return lambda text, _: name(_exactly(text, str))


def _exactly(value: object, form: type[_Form]) -> _Form:
    if type(value) is not form:
        raise CkptreeError(f"{value!r:.40} is not of the type {form.__name__}")
    return value


def _whole(number: object) -> int:
    """Read a whole number, which may be text because it is large, or because it is a key."""
    if isinstance(number, str) and number.removeprefix("-").isdecimal():
        return int(number)
    return _exactly(number, int)
