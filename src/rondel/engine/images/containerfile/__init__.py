"""Containerfiles: read, split into stages, and expanded into an immutable plan of steps.

Nothing here touches a file system or a network. :func:`outline` reads the file
and says which base images and stages a target needs; :func:`plan_stage` turns a
stage, with the configuration of its base, into steps and a final configuration.
"""

from rondel.engine.images.containerfile.outline import Outline, Stage, outline
from rondel.engine.images.containerfile.plan import StagePlan, plan_stage
from rondel.engine.images.containerfile.steps import (
    BindUse,
    CacheUse,
    CopyStep,
    FetchStep,
    GitStep,
    InlineFile,
    RunStep,
    SecretUse,
    SshUse,
    Step,
    TmpfsUse,
    WorkdirStep,
)
from rondel.engine.images.containerfile.syntax import ContainerfileError, NotUnderstood

__all__ = [
    "BindUse",
    "CacheUse",
    "ContainerfileError",
    "CopyStep",
    "FetchStep",
    "GitStep",
    "InlineFile",
    "NotUnderstood",
    "Outline",
    "RunStep",
    "SecretUse",
    "SshUse",
    "Stage",
    "StagePlan",
    "Step",
    "TmpfsUse",
    "WorkdirStep",
    "outline",
    "plan_stage",
]
