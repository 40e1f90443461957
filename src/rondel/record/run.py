"""What a stage may know about the run that it is part of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a stage may know about its run, as ``ctx.run``.

    ``dvc_stages`` are the stages of ``dvc.yaml`` that stages of the pipeline
    run, part of this run or not: they are left to those. ``started_by`` is the
    person who started the CI job, if there is one.
    """

    id: str
    root: Path
    folder: Path
    created: str
    targets: tuple[str, ...] = ()
    dvc_stages: tuple[str, ...] = ()
    git_commit: str | None = None
    git_dirty: bool = False
    git_branch: str | None = None
    git_remote: str | None = None
    engine: str = "embedded"
    ci: bool = False
    started_by: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
