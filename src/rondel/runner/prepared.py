"""A run that is checked and ready to start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.operations.project import Project
    from rondel.pipeline import Plan
    from rondel.record import CiJob, StageRecord
    from rondel.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """The run to resume, with the records of its stages that need not run again.

    ``kept`` are stages whose results are in that run's folder. They are looked up by key,
    also with ``--no-cache``.
    """

    run: str | None = None
    done: Mapping[str, StageRecord] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class PreparedRun:
    """Everything that a run needs to start.

    ``overrides`` are the ``-P`` values by stage, ``dvc_stages`` the stages of
    ``dvc.yaml`` that the pipeline runs. ``file`` is the pipeline file,
    ``arguments`` are the words after it in the command that repeats the run, and
    ``invocation`` is the command line as the user typed it. ``ci`` is the CI job
    around the run, ``branch`` the job's branch or tag, which git does not know in
    a CI checkout, and ``started_by`` the person who started the job.
    """

    pipeline: str
    file: str
    plan: Plan
    settings: Settings
    project: Project
    environ: Mapping[str, str]
    ci: CiJob | None = None
    branch: str | None = None
    started_by: str | None = None
    arguments: tuple[str, ...] = ()
    invocation: tuple[str, ...] = ()
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dvc_stages: tuple[str, ...] = ()
    resumption: Resumption = field(default_factory=Resumption)
