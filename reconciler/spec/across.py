"""What the documents of one host must be to each other.

Two files that claim the same thing are both at fault: which of them the operator meant cannot be
known. A file with other faults still makes its claims, or a copy beside it would be taken for the
VM.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from reconciler.spec.document import Document
from reconciler.spec.findings import Finding, excerpt


def check_together(documents: Sequence[Document]) -> tuple[Finding, ...]:
    """Give the faults between DOCUMENTS, each in both of the files that it is between."""
    found = (
        finding
        for one, other in combinations(documents, 2)
        for first, second in ((one, other), (other, one))
        for finding in (
            *_same_name(first, second),
            *_same_place(first, second),
            *_group_in_two_pools(first, second),
        )
    )
    return tuple(sorted(set(found)))


def _same_name(document: Document, other: Document) -> Iterator[Finding]:
    if document.vm and other.vm and document.vm.value == other.vm.value:
        yield Finding(
            document.vm.position,
            f"the VM {excerpt(document.vm.value)} is also described at {other.vm.position}",
            "describe each VM in one file",
        )


def _group_in_two_pools(document: Document, other: Document) -> Iterator[Finding]:
    here, there = document.dataset, other.dataset
    if not here or not there or here.value.pool == there.value.pool:
        return
    theirs = {placed.node.group: placed for placed in other.nodes if placed.node.group is not None}
    for placed in document.nodes:
        if placed.node.group in theirs:
            message = (
                f"the group {excerpt(placed.node.group)} is also in the pool {there.value.pool}, at"
                f" {theirs[placed.node.group].keys['group']}: ZFS takes snapshots at one instant within one pool only"
            )
            yield Finding(placed.keys["group"], message, "give the two different groups")


def _same_place(document: Document, other: Document) -> Iterator[Finding]:
    here, there = document.dataset, other.dataset
    if not here or not there:
        return
    hint = "give each VM a dataset of its own"
    if here.value == there.value:
        message = f"the dataset {excerpt(here.value)} is also claimed at {there.position}"
        yield Finding(here.position, message, hint)
    elif here.value.below(there.value):
        message = f"the dataset {excerpt(here.value)} lies inside the one at {there.position}"
        yield Finding(here.position, message, hint)
    elif there.value.below(here.value):
        message = f"the dataset {excerpt(here.value)} holds the one at {there.position}"
        yield Finding(here.position, message, hint)
