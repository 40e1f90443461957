"""Containerfiles: read, split into stages, and listed with what they copy.

The one reader of this format, for the key and the upload of an image's context and for the engine
that builds it. :func:`outline` reads a text and says which base images and stages a target needs;
:func:`select` says which files a COPY takes; :func:`read_context` answers both for a directory of
this machine.
"""

from rondel.containerfile.context import BuildContext, read_context, read_outline
from rondel.containerfile.outline import BuildStage, Outline, outline
from rondel.containerfile.selection import Item, SourceMissing, ignore_rules, read_ignore, select
from rondel.containerfile.steps import (
    BindUse,
    CacheUse,
    ContextSource,
    CopyStep,
    FetchStep,
    GitStep,
    ImageSource,
    InlineFile,
    RunStep,
    SecretUse,
    Source,
    SshUse,
    StageSource,
    Step,
    TmpfsUse,
    Use,
    WorkdirStep,
)
from rondel.containerfile.syntax import ContainerfileError, Instruction, NotUnderstood, Words

__all__ = [
    "BindUse",
    "BuildContext",
    "BuildStage",
    "CacheUse",
    "ContainerfileError",
    "ContextSource",
    "CopyStep",
    "FetchStep",
    "GitStep",
    "ImageSource",
    "InlineFile",
    "Instruction",
    "Item",
    "NotUnderstood",
    "Outline",
    "RunStep",
    "SecretUse",
    "Source",
    "SourceMissing",
    "SshUse",
    "StageSource",
    "Step",
    "TmpfsUse",
    "Use",
    "Words",
    "WorkdirStep",
    "ignore_rules",
    "outline",
    "read_context",
    "read_ignore",
    "read_outline",
    "select",
]
