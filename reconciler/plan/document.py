"""Plans as JSON: the stable form that is saved, compared, and read by other programs.

A saved plan is not carried out from its text: it is made anew from what exists, for the moment that it was made
for, and must come out with the same digest.
"""

import json
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import Enum
from hashlib import sha256

from reconciler.errors import CkptreeError, NameInvalid
from reconciler.model import properties
from reconciler.model.plan import Plan
from reconciler.names import VmName

VERSION = 1
Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """What of a saved plan is needed to check that it is still true."""

    vm: VmName
    now: datetime
    file_digest: str
    digest: str


def with_digest(plan: Plan) -> Plan:
    """Give PLAN its digest, which covers the file, the actions and the conditions."""
    body = to_json(replace(plan, digest=""))
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return replace(plan, digest=sha256(text.encode()).hexdigest())


def plan_document(plans: tuple[Plan, ...]) -> str:
    """Write PLANS as a JSON document that `ckptree apply` takes."""
    body = {"version": VERSION, "plans": [to_json(plan) for plan in plans]}
    return json.dumps(body, indent=2) + "\n"


def read_plan_document(text: str, file: str) -> tuple[SavedPlan, ...]:
    """Read what plan_document wrote; raises CkptreeError with FILE in it."""
    try:
        body = json.loads(text)
        if body["version"] != VERSION:
            raise CkptreeError(
                f"{file}: saved by another version of ckptree (make it anew with 'ckptree plan -o {file}')"
            )
        return tuple(
            SavedPlan(
                vm=VmName(item["vm"]),
                now=properties.decode_time(item["now"]),
                file_digest=str(item["file_digest"]),
                digest=str(item["digest"]),
            )
            for item in body["plans"]
        )
    except (ValueError, KeyError, TypeError, NameInvalid) as error:
        raise CkptreeError(
            f"{file} is not a saved plan (make one with 'ckptree plan -o {file}')"
        ) from error


def to_json(value: object) -> Json:
    """Turn the model's dataclasses into JSON values; a dataclass of a union gets its class name as ``kind``."""
    if isinstance(value, Enum):
        return to_json(value.value)
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return properties.encode_time(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    names = [field.name for field in fields(value)]  # type: ignore[arg-type]
    body: dict[str, Json] = {"kind": type(value).__name__}
    body.update((name, to_json(getattr(value, name))) for name in names)
    return body
