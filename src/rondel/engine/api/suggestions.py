"""Suggestions for unknown names: known names that differ in a few letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MOST = 5


def suggestion(word: str, candidates: Iterable[str]) -> str:
    """`` Did you mean "this" or "that"?``, the nearest first; empty if no name is near."""
    limit = len(word) * 4 // 10 + 1
    similar = (name for name in candidates if abs(len(name) - len(word)) <= limit)
    near = sorted((_distance(word, name), index, name) for index, name in enumerate(similar))
    names = [name for distance, _, name in near if distance <= limit]
    return f" Did you mean {one_of(names)}?" if names else ""


def one_of(names: Sequence[str]) -> str:
    """The names in quotes, at most five, the last one after an "or"."""
    quoted = [f'"{name}"' for name in names[:_MOST]]
    if len(quoted) < 3:
        return " or ".join(quoted)
    return f"{', '.join(quoted[:-1])}, or {quoted[-1]}"


def _distance(one: str, other: str) -> int:
    """The number of inserted, removed or changed letters; a different case is one change."""
    if one == other:
        return 0
    one, other = one.lower(), other.lower()
    if one == other:
        return 1
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, row = row, [i]
        for j, its in enumerate(other, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != its)))
    return row[-1]
