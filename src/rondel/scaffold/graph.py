"""Which stage needs which, by the paths that they read and make, and the names that they get in Python."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING

from rondel.data.model import overlap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.data import DvcProject, DvcStage


def graph(project: DvcProject) -> dict[str, tuple[str, ...]]:
    """The stages, each after those that it needs, with these. No circles.

    A dependency and an output belong together if one lies in the other: a
    stage may read a part of what another made, or a folder that others fill.
    """
    exact: list[tuple[str, str]] = []
    wide: list[tuple[str, str]] = []
    for stage in project.stages.values():
        for other in project.stages.values():
            if other is not stage and (kind := _link(stage, other)):
                (exact if kind == "exact" else wide).append((stage.address, other.address))
    needs: dict[str, list[str]] = {name: [] for name in project.stages}
    # Two stages that share a folder may each seem to need the other: what reads a very output wins.
    for stage_name, need in (*exact, *wide):
        if not _reaches(needs, need, stage_name):
            needs[stage_name].append(need)
    return _ordered(needs)


def _link(stage: DvcStage, other: DvcStage) -> str | None:
    """How ``stage`` depends on ``other``: on an output or a part of it, or on a folder around it."""
    pairs = [(read, out.path) for read in stage.reads for out in other.outs if overlap(read, out.path)]
    if not pairs:
        return None
    return "exact" if any(read == out or read.startswith(f"{out}/") for read, out in pairs) else "wide"


def _reaches(needs: Mapping[str, Iterable[str]], start: str, goal: str) -> bool:
    seen: set[str] = set()
    stack = [start]
    while stack:
        name = stack.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            stack.extend(needs[name])
    return False


def _ordered(needs: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """As the files have them, but for those that others need: these come before."""
    ordered: dict[str, tuple[str, ...]] = {}
    place = {name: number for number, name in enumerate(needs)}
    stack = list(reversed(needs))
    while stack:
        name = stack[-1]
        waiting = [need for need in needs[name] if need not in ordered]
        if name in ordered or not waiting:
            stack.pop()
            ordered.setdefault(name, tuple(sorted(needs[name], key=place.__getitem__)))
        else:
            stack.extend(reversed(waiting))
    return ordered


def title(address: str) -> str:
    """A stage's name in the pipeline: ``nlp/dvc.yaml:train`` is ``nlp/train`` there."""
    file, colon, name = address.rpartition(":")
    return f"{file.removesuffix('dvc.yaml')}{name}" if colon and file.endswith("/dvc.yaml") else address


def variables(names: Iterable[str]) -> dict[str, str]:
    """By stage a Python name of its own."""
    found: dict[str, str] = {}
    taken = {"pipeline", "Pipeline"}
    for name in names:
        word = base = variable(title(name))
        number = 2
        while word in taken:
            word, number = f"{base}_{number}", number + 1
        taken.add(word)
        found[name] = word
    return found


def variable(name: str) -> str:
    """A Python name for a stage."""
    word = re.sub(r"\W+", "_", name).strip("_").lower() or "stage"
    if keyword.iskeyword(word) or word == "pipeline":
        return f"{word}_"
    return f"_{word}" if word[0].isdigit() else word
