"""The dependencies between DVC stages, from their paths, and the stages' names in Python."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING

from rondel.data.model import overlap

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.data import DvcProject, DvcStage


def stage_needs(project: DvcProject) -> dict[str, tuple[str, ...]]:
    """Map each stage to the stages that it needs, which come first; without cycles.

    A dependency matches an output if one contains the other: a stage may read a
    part of another stage's output, or a folder that other stages write to.
    """
    exact: list[tuple[str, str]] = []
    wide: list[tuple[str, str]] = []
    for stage in project.stages.values():
        for other in project.stages.values():
            if other is not stage and (kind := _dependency(stage, other)):
                (exact if kind == "exact" else wide).append((stage.address, other.address))
    needs: dict[str, list[str]] = {name: [] for name in project.stages}
    # Two stages that share a folder may seem to need each other: the exact dependency wins.
    for stage_name, need in (*exact, *wide):
        if not _reaches(needs, need, stage_name):
            needs[stage_name].append(need)
    return _ordered(needs)


def _dependency(stage: DvcStage, other: DvcStage) -> str | None:
    """``exact`` if ``stage`` reads an output of ``other`` or a part of it, ``wide`` for a parent folder."""
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
    """The stages in the order of the files, except that a stage comes after those that it needs."""
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


def stage_name(address: str) -> str:
    """A stage's name in the pipeline: ``nlp/train`` for ``nlp/dvc.yaml:train``."""
    file, colon, name = address.rpartition(":")
    return f"{file.removesuffix('dvc.yaml')}{name}" if colon and file.endswith("/dvc.yaml") else address


def variable_names(names: Iterable[str]) -> dict[str, str]:
    """A unique Python name for each stage."""
    found: dict[str, str] = {}
    taken = {"pipeline", "Pipeline"}
    for name in names:
        word = base = variable_name(stage_name(name))
        number = 2
        while word in taken:
            word, number = f"{base}_{number}", number + 1
        taken.add(word)
        found[name] = word
    return found


def variable_name(name: str) -> str:
    """A Python name for a stage."""
    word = re.sub(r"\W+", "_", name).strip("_").lower() or "stage"
    if keyword.iskeyword(word) or word == "pipeline":
        return f"{word}_"
    return f"_{word}" if word[0].isdigit() else word
