"""Metrics and plots at the top level of ``dvc.yaml``, as DVCLive writes them.

They are files that stages make, either outputs themselves or in a tracked folder.
Parameters, artifacts and datasets at the top level don't affect what runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rondel.data.model import Out, overlap

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rondel.data.model import DvcStage, OutKind


@dataclass(frozen=True, slots=True, kw_only=True)
class TopLevelPath:
    """A path at the top level, as written in its ``dvc.yaml``."""

    path: str
    kind: OutKind


def top_level_paths(document: Mapping[str, Any]) -> Iterator[TopLevelPath]:
    """The metrics and plots at the top level of a ``dvc.yaml``. Raises ValueError if they are malformed."""
    metrics = document.get("metrics") or []
    if not isinstance(metrics, list) or not all(isinstance(path, str) for path in metrics):
        raise ValueError("`metrics` at the top level has to be a list of paths")
    for path in metrics:
        yield TopLevelPath(path=path, kind="metric")
    plots = document.get("plots") or []
    if not isinstance(plots, list | dict):
        raise ValueError("`plots` at the top level has to be a list, or a mapping")  # noqa: TRY004 - the file is wrong
    for each in plots if isinstance(plots, list) else [plots]:
        if isinstance(each, str):
            yield TopLevelPath(path=each, kind="plot")
        elif isinstance(each, dict):
            for name, body in each.items():
                yield from (TopLevelPath(path=path, kind="plot") for path in _plotted(str(name), body))
        else:
            raise ValueError("each of `plots` at the top level has to be a path or a mapping")  # noqa: TRY004 - the file is wrong


def _plotted(name: str, body: Any) -> Iterator[str]:
    """The files of a plot: those of its axes, else its name."""
    axes = [body.get(axis) for axis in ("x", "y")] if isinstance(body, dict) else []
    files = [str(path) for axis in axes if isinstance(axis, dict) for path in axis]
    yield from dict.fromkeys(files) if files else (name,)


def with_top_level(stage: DvcStage, named: list[TopLevelPath]) -> DvcStage:
    """Mark those outputs of ``stage``, or files in them, that are metrics or plots at the top level.

    ``named`` has paths relative to the project's root.
    """
    outs = tuple(_marked(out, named) for out in stage.outs)
    inside = {
        each.path: Out(path=each.path, kind=each.kind, cached=out.cached)
        for out in outs
        for each in named
        if each.path.startswith(f"{out.path}/")
    }
    if not inside and outs == stage.outs:
        return stage
    return replace(stage, outs=outs, reported=tuple(inside.values()))


def _marked(out: Out, named: list[TopLevelPath]) -> Out:
    for each in named:
        if out.kind == "out" and overlap(out.path, each.path) and not each.path.startswith(f"{out.path}/"):
            return replace(out, kind=each.kind)
    return out
