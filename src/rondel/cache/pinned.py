"""The base image of a Containerfile: which one it is, and the file with it named by digest; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rondel.containerfile import ContainerfileError, ImageSource, StageSource, read_outline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.containerfile import BuildStage


def pinned_text(text: str, base: str, build_args: Iterable[tuple[str, str]] = ()) -> str:
    """The Containerfile with ``base``, a reference with digest, wherever it names that image by tag.

    The text is unchanged where no stage is based on that image.
    """
    name = base.partition("@")[0]
    lines = text.split("\n")
    for stage in read_outline(text, build_args=build_args).stages:
        if isinstance(stage.base, ImageSource) and _same(stage.base.reference, name):
            _put(lines, stage, base)
    return "\n".join(lines)


def base_reference(text: str, target: str, build_args: Iterable[tuple[str, str]] = ()) -> str | None:
    """The base image of ``target``; None where the file names none."""
    try:
        file = read_outline(text, target=target, build_args=build_args)
    except ContainerfileError:
        return None
    source = file.stages[file.target].base
    while isinstance(source, StageSource):
        source = file.stages[source.index].base
    return source.reference if isinstance(source, ImageSource) else None


def _put(lines: list[str], stage: BuildStage, base: str) -> None:
    """Write another image into the lines of a stage's FROM."""
    at = stage.at
    word = re.compile(rf"(?<!\S){re.escape(at.args[0])}(?!\S)")
    for number in range(at.line - 1, at.end):
        if lines[number].lstrip().startswith("#"):
            continue
        start = len("FROM") + len(lines[number]) - len(lines[number].lstrip()) if number == at.line - 1 else 0
        found = word.search(lines[number], start)
        if found:
            lines[number] = lines[number][: found.start()] + base + lines[number][found.end() :]
            return


def _same(written: str, name: str) -> bool:
    """Whether a reference as people write it means the image of that full name."""
    if "@" in written:
        return False
    if ":" not in written.rpartition("/")[2]:
        written += ":latest"
    return name == written or name in {f"docker.io/{written}", f"docker.io/library/{written}"}
