"""The context that a stage's function gets: one method for each operation."""

from rondel.context.stage import StageContext

__all__ = ["StageContext"]
