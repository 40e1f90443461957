"""The metrics that a stage of ``dvc.yaml`` made: in its outputs, and in files of them named at top level."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rondel.gates.metrics import read_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rondel.data import DvcStage


def made_metrics(stage: DvcStage, made: Path | None, tree: Path | None = None) -> dict[str, float]:
    """The stage's metrics, from the files in ``made``; else from ``tree``, the working tree.

    The latter is not looked into for files in a folder that DVC keeps: what lies there is what
    somebody pulled last. A name that several files have is told apart by the file, as DVC shows it.
    """
    found: dict[str, Mapping[str, float]] = {}
    for out in (*stage.outs, *stage.reported):
        if out.kind != "metric":
            continue
        in_tree = out.returns if out in stage.outs else not out.cached
        for folder in (made, tree if in_tree else None):
            if folder is not None and (folder / out.path).exists():
                for path in _files(folder, out.path):
                    found[path] = read_metrics(folder / path, shown=path).values
                break
    times = Counter(name for values in found.values() for name in values)
    return {
        name if times[name] == 1 else f"{path}:{name}": value
        for path, values in found.items()
        for name, value in values.items()
    }


def _files(folder: Path, path: str) -> Iterator[str]:
    if (folder / path).is_dir():
        for file in sorted((folder / path).rglob("*")):
            if file.is_file():
                yield file.relative_to(folder).as_posix()
    else:
        yield path
