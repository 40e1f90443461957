"""The marked regions that Rondel writes in a file that people edit, too.

`rondel ci generate` rewrites the text between two marker lines. It leaves the
rest of the file alone, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN = "rondel: begin"
END = "rondel: end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How a file differs from the pipeline; ``diff`` is a unified diff, never empty."""

    path: str
    diff: str


def marked(body: str, comment: str, generate: str, name: str = "") -> str:
    """The region with its markers; ``comment`` starts a line comment in the file's language.

    ``name`` distinguishes the regions of several projects in one file.
    """
    of = f" {name}" if name else ""
    begin = f"{comment} {BEGIN}{of} — written by `{generate}` from the pipeline; edit outside of this region"
    return f"{begin}\n{body.rstrip()}\n{comment} {END}{of}\n"


def merge(current: str | None, regions: Sequence[str], path: str) -> str:
    """The file's new text: each region replaces its old version.

    In a file with regions of other projects, new regions go to the end.

    Raises ConfigurationError if the file exists without regions, because people
    wrote it, or if its markers are damaged.
    """
    if current is None or not current.strip():
        return "".join(regions)
    lines = current.splitlines(keepends=True)
    names = {_name_of(line) for line in lines if _is_mark(line)}
    if names and _name_of(regions[0]) not in names:
        gap = "\n" if current.endswith("\n") else "\n\n"
        return "".join([current, gap, *regions])
    spans = _spans(lines, regions, path)
    merged: list[str] = []
    kept = 0
    for (start, end), region in zip(spans, regions, strict=True):
        merged += [*lines[kept:start], region]
        kept = end + 1
    return "".join([*merged, *lines[kept:]])


def _is_mark(line: str) -> bool:
    return BEGIN in line or END in line


def _name_of(mark: str) -> str:
    """The project of a marker; empty for a project at the top of its repository."""
    line = mark.splitlines()[0]
    return line.partition(BEGIN if BEGIN in line else END)[2].partition(" — ")[0].strip()


def _spans(lines: Sequence[str], regions: Sequence[str], path: str) -> list[tuple[int, int]]:
    name = _name_of(regions[0])
    marks = [number for number, line in enumerate(lines) if _is_mark(line) and _name_of(line) == name]
    if not marks:
        raise ConfigurationError(
            "the file exists, and nothing in it is marked as generated", hint=_invite(regions), place=path
        )
    wanted = [BEGIN, END] * len(regions)
    good = len(marks) == len(wanted) and all(
        sign in lines[number] for sign, number in zip(wanted, marks, strict=True)
    )
    if not good:
        raise ConfigurationError(
            f"the file needs {len(regions)} pair(s) of lines, one with {BEGIN!r} and then one with {END!r}",
            why=f"such lines are at {', '.join(str(number + 1) for number in marks)}",
            place=f"{path}:{marks[0] + 1}",
        )
    return list(zip(marks[::2], marks[1::2], strict=True))


def _invite(regions: Sequence[str]) -> str:
    """How to add the regions to a file that people wrote."""
    begin, end = regions[0].splitlines()[0], regions[0].splitlines()[-1]
    command = begin.partition("`")[2].partition("`")[0]
    if len(regions) == 1:
        begin = begin.partition(" — ")[0]
        return f"add two lines where the jobs belong, {begin!r} and {end!r}; then run `{command}`"
    return (
        f"move the file away, run `{command}`, and add your own parts outside of the regions; "
        f"a region is from a line with {BEGIN!r} to one with {END!r}"
    )


def drift(current: str | None, regions: Sequence[str], path: str) -> Drift | None:
    """What ``rondel ci generate`` would change, or None. Raises like :func:`merge`."""
    import difflib

    wanted = merge(current, regions, path)
    if current == wanted:
        return None
    before = (current or "").splitlines(keepends=True)
    after = wanted.splitlines(keepends=True)
    return Drift(path=path, diff="".join(difflib.unified_diff(before, after, path, f"{path} (pipeline)")))
