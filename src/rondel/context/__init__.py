"""What a stage's function gets: the container, and the usual things to do in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.context.stage import StageContext

if TYPE_CHECKING:
    from rondel.context.ground import open_ground

__all__ = ["StageContext", "open_ground"]


def __getattr__(name: str) -> Any:
    # Pipelines import StageContext to name it; only a run that has something to do stands on the ground.
    if name == "open_ground":
        from rondel.context.ground import open_ground

        return open_ground
    raise AttributeError(f"module 'rondel.context' has no attribute {name!r}")
