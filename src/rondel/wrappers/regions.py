"""Marked regions: what belongs to Rondel in a file that people edit, too.

A generated file has its text between two marker lines. Everything outside of
them is the team's own and is kept, byte for byte; what stands between them
is written anew each time.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from rondel.errors import ConfigurationError

BEGIN = "rondel: begin"
END = "rondel: end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How a file differs from what the pipeline says; ``diff`` is a unified diff, never empty."""

    path: str
    diff: str


def marked(body: str, comment: str, generate: str) -> str:
    """The region with its markers; ``comment`` starts a line comment in the file's language."""
    begin = f"{comment} {BEGIN} — written by `{generate}` from the pipeline; edit outside of this region"
    return f"{begin}\n{body.rstrip()}\n{comment} {END}\n"


def merge(current: str | None, region: str, path: str) -> str:
    """The file's new text: the region in place of the old one, all else as it is.

    Raises ConfigurationError when the file exists without a region (it is
    somebody's own), or when its markers are damaged.
    """
    if current is None or not current.strip():
        return region
    lines = current.splitlines(keepends=True)
    begins = [number for number, line in enumerate(lines) if BEGIN in line]
    ends = [number for number, line in enumerate(lines) if END in line]
    if not begins and not ends:
        raise ConfigurationError(
            f"{path} exists, and nothing in it is marked as generated",
            hint="move it away, or put these two lines where the jobs shall stand: "
            f"`{region.splitlines()[0]}` and `{region.splitlines()[-1]}`",
            place=path,
        )
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        place = f"{path}:{(begins + ends)[0] + 1}"
        raise ConfigurationError(
            f"the file needs one line with {BEGIN!r} and after it one with {END!r}",
            why=f"found {len(begins)} and {len(ends)}",
            place=place,
        )
    return "".join([*lines[: begins[0]], region, *lines[ends[0] + 1 :]])


def drift(current: str | None, region: str, path: str) -> Drift | None:
    """What ``rondel ci generate`` would change, or None. Raises like :func:`merge`."""
    wanted = merge(current, region, path)
    if current == wanted:
        return None
    before = (current or "").splitlines(keepends=True)
    after = wanted.splitlines(keepends=True)
    return Drift(path=path, diff="".join(difflib.unified_diff(before, after, path, f"{path} (pipeline)")))
