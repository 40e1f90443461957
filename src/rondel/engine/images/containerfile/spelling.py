"""What a misspelt word of a Containerfile was meant to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEAR = 2


def suggestion(word: str, known: Iterable[str]) -> str:
    """`` (did you mean RUN?)`` for a word that is two letters from a known one at most, or nothing."""
    lower = word.lower()
    distances = [(distance(lower, name.lower()), name) for name in known]
    near, name = min(distances, key=lambda pair: pair[0], default=(_NEAR + 1, ""))
    if near > _NEAR:
        return ""
    return f" (did you mean {name.lower() if word == lower else name}?)"


def distance(one: str, other: str) -> int:
    """How many letters must be put in, left out or changed to make one word of the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, start=1):
        above, row = row, [number]
        for place, wanted in enumerate(other, start=1):
            row.append(min(above[place] + 1, row[-1] + 1, above[place - 1] + (letter != wanted)))
    return row[-1]
