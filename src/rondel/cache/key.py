"""A stage's key: the digest of everything that its result depends on.

A key has named parts (image, host, environment, code, command, parameters,
inputs, undeclared, champion). Each part maps entries, such as a file, a
parameter or a variable, to values. The record keeps the parts, so that two keys
can be compared and the first changed entry can be named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rondel.record import KeyRecord

KEY_VERSION = 2

PARTS = ("image", "host", "environment", "code", "command", "parameters", "inputs", "undeclared", "champion")
"""All parts, the most telling difference first."""


def digest(value: Any) -> str:
    """``sha256:…`` of a JSON value in canonical form: sorted keys, no spaces, no NaN.

    Raises ValueError or TypeError if JSON can't represent the value.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def make_key(parts: Mapping[str, Mapping[str, Any]]) -> KeyRecord:
    """Make a key from these parts. An empty part equals a missing one."""
    kept = {name: as_json(dict(part)) for name, part in parts.items() if part}
    return KeyRecord(digest=digest({"version": KEY_VERSION, "parts": kept}), parts=kept)


def as_json(value: Any) -> Any:
    """``value`` as JSON types: tuples become lists; dates and other YAML values become strings."""
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two keys: which entry of which part was added, removed or changed."""

    part: str
    entry: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


def compare(before: KeyRecord, after: KeyRecord) -> tuple[Change, ...]:
    """All differences from ``before`` to ``after``; empty if and only if the digests are equal."""
    changes: list[Change] = []
    for part in sorted({*before.parts, *after.parts}, key=part_rank):
        old, new = before.parts.get(part, {}), after.parts.get(part, {})
        for entry in sorted({*old, *new}):
            if entry not in new:
                changes.append(Change(part, entry, "removed", before=old[entry]))
            elif entry not in old:
                changes.append(Change(part, entry, "added", after=new[entry]))
            elif digest(old[entry]) != digest(new[entry]):
                changes.append(Change(part, entry, "changed", old[entry], new[entry]))
    return tuple(changes)


def part_digests(key: KeyRecord) -> dict[str, str]:
    """The digest of each part of a key, as ``rondel.lock`` records them."""
    return {name: digest(part) for name, part in key.parts.items()}


def part_rank(part: str) -> tuple[int, str]:
    """Sort key: parts in the order of :data:`PARTS`, then unknown ones by name."""
    return (PARTS.index(part) if part in PARTS else len(PARTS), part)


def describe(changes: Iterable[Change]) -> str:
    """Why a stage has to run, in a short sentence: the first change and the number of others."""
    found = list(changes)
    if not found:
        return "nothing changed"
    first = found[0]
    text = f"{_NOUN.get(first.part, first.part)} {first.entry} {_verb(first)}"
    return text if len(found) == 1 else f"{text}, and {len(found) - 1} more"


_NOUN = {
    "inputs": "input",
    "parameters": "parameter",
    "image": "the image's",
    "host": "the machine's",
    "environment": "variable",
    "undeclared": "undeclared input",
    "code": "code of",
    "command": "command of",
    "champion": "champion of",
}


def _verb(change: Change) -> str:
    if change.kind != "changed":
        return f"was {change.kind}"
    shown = [str(value) for value in (change.before, change.after)]
    if change.part in {"parameters", "champion"} and all(len(text) <= 24 for text in shown):
        return f"changed from {shown[0]} to {shown[1]}"
    return "changed"
