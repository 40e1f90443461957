"""The base image of a Containerfile: which one it is, and the file with it named by digest; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_FROM = re.compile(
    r"^(?P<head>[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*)(?P<image>\S+)(?=(?:[ \t]+AS[ \t]+(?P<name>\S+))?)",
    re.IGNORECASE | re.MULTILINE,
)
_ARG = re.compile(r"^[ \t]*ARG[ \t]+(?P<name>\w+)(?:=(?P<value>\S*))?[ \t]*$", re.IGNORECASE | re.MULTILINE)
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\}|(?P<plain>\w+))")


def pinned_text(text: str, base: str, build_args: Iterable[tuple[str, str]] = ()) -> str:
    """The Containerfile with ``base``, a reference with digest, wherever it names that image by tag.

    Without such a place it is the text as it was: then the image stands on another base.
    """
    name = base.partition("@")[0]
    expanded = _expansion(text, build_args)

    def pinned(match: re.Match[str]) -> str:
        return match["head"] + (base if _same(expanded(match["image"]), name) else match["image"])

    return _FROM.sub(pinned, text)


def base_reference(text: str, target: str, build_args: Iterable[tuple[str, str]] = ()) -> str | None:
    """The image that ``target`` stands on, as it is written; None where no image is named."""
    expanded = _expansion(text, build_args)
    stages = [(expanded(match["image"]), (match["name"] or "").lower()) for match in _FROM.finditer(text)]
    wanted: str | None = target.lower()
    image = None
    for base, name in reversed(stages):
        if name == wanted:
            image, wanted = base, base.lower()
    return None if image in {None, "", "scratch"} else image


def _expansion(text: str, build_args: Iterable[tuple[str, str]]) -> Callable[[str], str]:
    """What puts the values of the arguments before the first FROM into the name of an image."""
    first = _FROM.search(text)
    given = dict(build_args)
    values = {
        match["name"]: given.get(match["name"], (match["value"] or "").strip("\"'"))
        for match in _ARG.finditer(text, 0, first.start() if first else len(text))
    }

    def value(match: re.Match[str]) -> str:
        return values.get(match["braced"] or match["plain"]) or match["default"] or ""

    return lambda image: _VARIABLE.sub(value, image)


def _same(written: str, name: str) -> bool:
    """Whether a reference as people write it means the image of that full name."""
    if "@" in written:
        return False
    if ":" not in written.rpartition("/")[2]:
        written += ":latest"
    return name == written or name in {f"docker.io/{written}", f"docker.io/library/{written}"}
