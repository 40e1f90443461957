"""Prepares a run: plans the pipeline, checks it, and reads the overrides, before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.context.registry import operations_of
from rondel.operations.dvc.operation import dvc_stage_names
from rondel.pipeline import make_plan
from rondel.runner.check import check_calls, check_inputs, params_for_plan, parse_overrides
from rondel.runner.prepared import PreparedRun, Resumption

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rondel.operations.project import Project
    from rondel.pipeline import Pipeline, Selection, Stage
    from rondel.record import Capsule, CiJob
    from rondel.settings import Settings


def prepare_run(
    pipeline: Pipeline,
    selection: Selection,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    file: str,
    invocation: tuple[str, ...] = (),
    ci: CiJob | None = None,
    branch: str | None = None,
    started_by: str | None = None,
    resumed: Capsule | None = None,
    project: Project | None = None,
) -> PreparedRun:
    """Plan a run of ``pipeline`` and check it, without starting anything.

    ``ci``, ``branch`` and ``started_by`` describe the CI job around the run.
    ``resumed`` is the run to resume. Tests pass a fake ``project`` instead of the
    one on disk. Raises ConfigurationError with all mistakes of the pipeline, and
    DataError for tracked data that differs from its ``.dvc`` file.
    """
    stages = pipeline.stages()
    plan = make_plan(stages, selection)
    own = dvc_stages_of(pipeline.declared)
    if project is None:
        from rondel.runner.disk_project import DiskProject

        project = DiskProject(settings, environ, stages=stages)
    check_calls((planned.stage for planned in plan.stages), project)
    params = settings.params
    if settings.reproduces or resumed is not None:
        # The record has the parameters of all stages; keep those of the planned ones.
        params = params_for_plan(params, plan, stages, project)
    overrides = parse_overrides(params, plan, project)
    resumption = Resumption()
    if resumed is not None:
        from rondel.runner.resume import resume

        resumption = resume(resumed, plan, project, overrides, force=settings.force)
    check_inputs(plan, project, overrides, resumption.done)
    return PreparedRun(
        pipeline=pipeline.name or settings.name,
        file=file,
        plan=plan,
        settings=settings,
        project=project,
        environ=environ,
        ci=ci,
        branch=branch,
        started_by=started_by,
        arguments=(*selection.targets, *settings.arguments()),
        invocation=invocation,
        overrides=overrides,
        dvc_stages=own,
        resumption=resumption,
    )


def dvc_stages_of(stages: Iterable[Stage]) -> tuple[str, ...]:
    """The stages of ``dvc.yaml`` that these stages run, read from their sources."""
    return dvc_stage_names(operation for stage in stages for operation in operations_of(stage.calls))
