"""A Containerfile with its base image named by digest, as a run that is repeated had it; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_FROM = re.compile(r"^(?P<head>[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*)(?P<image>\S+)", re.IGNORECASE | re.MULTILINE)
_ARG = re.compile(r"^[ \t]*ARG[ \t]+(?P<name>\w+)(?:=(?P<value>\S*))?[ \t]*$", re.IGNORECASE | re.MULTILINE)
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\}|(?P<plain>\w+))")


def pinned_text(text: str, base: str, build_args: Iterable[tuple[str, str]] = ()) -> str:
    """The Containerfile with ``base``, a reference with digest, wherever it names that image by tag.

    Without such a place it is the text as it was: then the image stands on another base.
    """
    name = base.partition("@")[0]
    first = _FROM.search(text)
    given = dict(build_args)
    values = {
        match["name"]: given.get(match["name"], (match["value"] or "").strip("\"'"))
        for match in _ARG.finditer(text, 0, first.start() if first else len(text))
    }

    def expanded(match: re.Match[str]) -> str:
        return values.get(match["braced"] or match["plain"]) or match["default"] or ""

    def pinned(match: re.Match[str]) -> str:
        image = _VARIABLE.sub(expanded, match["image"])
        return match["head"] + (base if _same(image, name) else match["image"])

    return _FROM.sub(pinned, text)


def _same(written: str, name: str) -> bool:
    """Whether a reference as people write it means the image of that full name."""
    if "@" in written:
        return False
    if ":" not in written.rpartition("/")[2]:
        written += ":latest"
    return name == written or name in {f"docker.io/{written}", f"docker.io/library/{written}"}
