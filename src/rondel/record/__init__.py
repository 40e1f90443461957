"""The record of one run: the capsule, its stages, and the folder that contains them."""

from rondel.record.capsule import (
    SCHEMA_VERSION,
    Approval,
    CallRecord,
    Capsule,
    CiJob,
    CommandRecord,
    Engine,
    Git,
    Host,
    Image,
    KeyRecord,
    MlflowRun,
    Outcome,
    StageRecord,
    VerdictRecord,
)
from rondel.record.folder import RunFolder, list_runs, load, new_id
from rondel.record.recorder import Observer, StageRecorder
from rondel.record.run import Run

__all__ = [
    "SCHEMA_VERSION",
    "Approval",
    "CallRecord",
    "Capsule",
    "CiJob",
    "CommandRecord",
    "Engine",
    "Git",
    "Host",
    "Image",
    "KeyRecord",
    "MlflowRun",
    "Observer",
    "Outcome",
    "Run",
    "RunFolder",
    "StageRecord",
    "StageRecorder",
    "VerdictRecord",
    "list_runs",
    "load",
    "new_id",
]
