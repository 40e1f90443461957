"""The run, as stages see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The run, as stages see it: ``ctx.run``.

    ``dvc_stages`` are the stages of ``dvc.yaml`` that some pipeline stage runs,
    even if it is not part of this run. Other pipeline stages don't run them.
    ``started_by`` is the person who started the CI job, if there is one.
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
