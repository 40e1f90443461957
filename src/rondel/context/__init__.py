"""What a stage's function gets: the container, and the usual things to do in it."""

from rondel.context.ground import open_ground
from rondel.context.stage import StageContext

__all__ = ["StageContext", "open_ground"]
