"""A stage's key: the digest of everything that its result can depend on.

The parts stay apart in the record (image, host, environment, code, command,
parameters, inputs, undeclared inputs, champion), each a flat mapping, so that
two keys can be compared and the first difference named by file, parameter or
package.
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
"""The parts in the order in which a difference is worth telling."""


def digest(value: Any) -> str:
    """``sha256:…`` of a JSON value in canonical form: sorted keys, no spaces, no NaN.

    Raises ValueError or TypeError for what JSON cannot say.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def make_key(parts: Mapping[str, Mapping[str, Any]]) -> KeyRecord:
    """The key of these parts; empty parts count like missing ones."""
    kept = {name: plain(dict(part)) for name, part in parts.items() if part}
    return KeyRecord(digest=digest({"version": KEY_VERSION, "parts": kept}), parts=kept)


def plain(value: Any) -> Any:
    """``value`` as JSON can say it: dates, tuples and other YAML values as lists and texts."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between two keys: the part, the entry in it, and what happened to it."""

    part: str
    entry: str
    kind: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


def compare(before: KeyRecord, after: KeyRecord) -> tuple[Change, ...]:
    """All differences from ``before`` to ``after``; none exactly when the digests are equal."""
    changes: list[Change] = []
    for part in sorted({*before.parts, *after.parts}, key=_rank):
        old, new = before.parts.get(part, {}), after.parts.get(part, {})
        for entry in sorted({*old, *new}):
            if entry not in new:
                changes.append(Change(part, entry, "removed", before=old[entry]))
            elif entry not in old:
                changes.append(Change(part, entry, "added", after=new[entry]))
            elif digest(old[entry]) != digest(new[entry]):
                changes.append(Change(part, entry, "changed", old[entry], new[entry]))
    return tuple(changes)


def _rank(part: str) -> tuple[int, str]:
    return (PARTS.index(part) if part in PARTS else len(PARTS), part)


def describe(changes: Iterable[Change]) -> str:
    """A short sentence on why a stage has to run: the first change, and how many more there are."""
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
