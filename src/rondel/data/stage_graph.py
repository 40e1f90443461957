"""Rejects graphs of DVC stages that can't be executed: overlapping outputs, and cycles."""

from __future__ import annotations

import bisect
from itertools import pairwise
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError
from rondel.files.yaml_file import line_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from rondel.data.model import DvcStage, TrackedFile


def check_graph(root: Path, stages: Mapping[str, DvcStage], tracked: Iterable[TrackedFile]) -> None:
    """Raise ConfigurationError for overlapping outputs or a cycle."""
    made = sorted(
        [(f"{out.path}/", address) for address, stage in stages.items() for out in stage.outs]
        + [(f"{each.path}/", each.file) for each in tracked]
    )
    _check_overlaps(root, stages, made)
    needs = {address: _makers(stage, made, stages) for address, stage in stages.items()}
    if any(needs.values()) and (cycle := _cycle(needs)):
        first = stages[cycle[0]]
        shown = " → ".join([*cycle, cycle[0]])
        what = (
            f"stage {cycle[0]!r} depends on its own output"
            if len(cycle) == 1
            else "stages depend on each other"
        )
        raise ConfigurationError(
            f"{what}: {shown}",
            why="DVC does not allow cycles, either",
            place=location_of(root, first, "deps"),
        )


def _check_overlaps(root: Path, stages: Mapping[str, DvcStage], made: list[tuple[str, str]]) -> None:
    # In sorted order, the contents of a folder follow it directly.
    for (one, maker), (other, second) in pairwise(made):
        if not other.startswith(one):
            continue
        paths = one.rstrip("/") if one == other else f"{one} and {other.rstrip('/')}"
        stage = stages.get(second) or stages.get(maker)
        raise ConfigurationError(
            f"{paths} {'is' if one == other else 'are'} made more than once, by {maker} and {second}",
            why="in DVC, an output must not be in another output",
            hint="name metrics in an output folder at the top level of dvc.yaml: metrics: [PATH]"
            if maker == second and one != other
            else None,
            place=location_of(root, stage, "outs") if stage else None,
        )


def _makers(stage: DvcStage, made: list[tuple[str, str]], stages: Mapping[str, DvcStage]) -> set[str]:
    """The stages whose outputs overlap with a stage's dependencies."""
    found: set[str] = set()
    for dep in stage.reads:
        key = f"{dep}/"
        start = bisect.bisect_left(made, (key, ""))
        for path, maker in made[start:]:
            if not path.startswith(key):
                break
            found.add(maker)
        parts = dep.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth]) + "/"
            at = bisect.bisect_left(made, (above, ""))
            if at < len(made) and made[at][0] == above:
                found.add(made[at][1])
    return found & stages.keys()


def _cycle(needs: Mapping[str, set[str]]) -> list[str]:
    """The stages of a cycle in order; empty if there is none."""
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        todo: list[tuple[str, bool]] = [(start, False)]
        while todo:
            address, leaving = todo.pop()
            if leaving:
                done.add(path.pop())
            elif address in path:
                return path[path.index(address) :]
            elif address not in done:
                path.append(address)
                todo.append((address, True))
                todo += [(need, False) for need in sorted(needs[address])]
    return []


def location_of(root: Path, stage: DvcStage, key: str) -> str:
    """``dvc.yaml:LINE`` of one of a stage's keys, else of the stage."""
    try:
        text = (root / stage.file).read_text(encoding="utf-8")
    except OSError:
        return stage.file
    line = line_of(text, "stages", stage.name, key) or line_of(text, "stages", stage.name)
    return f"{stage.file}:{line}" if line else stage.file
