"""What a team declares: stages, how they depend on one another, and the plan of one run. Pure."""

from rondel.pipeline.graph import order
from rondel.pipeline.load import load_pipeline
from rondel.pipeline.pipeline import Pipeline
from rondel.pipeline.plan import Plan, PlannedStage, Selection, make_plan
from rondel.pipeline.source import follow_main
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

# From here on: what `ci/main.py` imports after Rondel, it imports from source.
follow_main()
