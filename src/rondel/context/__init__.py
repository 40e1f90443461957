"""What a stage's function gets: the container, and the usual things to do in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.context.stage import StageContext

if TYPE_CHECKING:
    from rondel.environment.run_environment import open_environment

__all__ = ["StageContext", "open_environment"]


def __getattr__(name: str) -> Any:
    # Pipelines import StageContext to name it; only a run that has something to do stands on the environment.
    if name == "open_environment":
        from rondel.environment.run_environment import open_environment

        return open_environment
    raise AttributeError(f"module 'rondel.context' has no attribute {name!r}")
