"""What a team declares: stages and their dependencies; and the plan of one run. Pure."""

from rondel.pipeline.graph import order
from rondel.pipeline.load import load_pipeline
from rondel.pipeline.pipeline import Pipeline
from rondel.pipeline.plan import Plan, PlannedStage, Selection, make_plan
from rondel.pipeline.source import read_main_from_source
from rondel.pipeline.stage import SourceLocation, Stage, StageBody, StageCall

__all__ = [
    "Pipeline",
    "Plan",
    "PlannedStage",
    "Selection",
    "SourceLocation",
    "Stage",
    "StageBody",
    "StageCall",
    "load_pipeline",
    "make_plan",
    "order",
]

# Modules that `ci/main.py` imports after Rondel are compiled from their source.
read_main_from_source()
