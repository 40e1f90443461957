"""A pipeline of two DVC stages, and how its stages ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.pipeline import Pipeline

if TYPE_CHECKING:
    from rondel.runner.run import Result


def states(result: Result) -> dict[str, str]:
    return {record.name: record.state for record in result.capsule.stages}


def straight() -> Pipeline:
    pipeline = Pipeline("straight")
    prepare = pipeline.dvc("prepare")
    pipeline.dvc("train", needs=[prepare])
    return pipeline
