"""What a stage's function gets: its context, composed of the operations that there are."""

from rondel.context.stage import StageContext

__all__ = ["StageContext"]
