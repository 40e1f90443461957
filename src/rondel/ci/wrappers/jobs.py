"""The CI jobs that a pipeline becomes. Each CI system's wrapper writes them down in its own syntax."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rondel.errors import ConfigurationError
from rondel.pipeline import order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rondel.pipeline import Stage

MAIN = "pipeline"
"""The name of the job that runs all stages without an approval or a schedule."""

Layout = Literal["single", "stages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One CI job.

    ``command`` is its only command. ``needs`` are names of other jobs. A job with
    an ``approval`` starts by hand; a ``scheduled`` one runs in scheduled pipelines
    only. ``effect``: it acts on the outside world, so it is never interrupted,
    repeated, or run at the same time as another job with its ``resource``.
    ``changes`` are glob patterns of git: a change of these paths starts the job;
    without any, every change does. ``minutes`` is the time limit. ``results`` are
    files of the working tree that the job may write; ``kept`` are folders that
    the next pipeline reuses.
    """

    name: str
    command: str
    needs: tuple[str, ...] = ()
    approval: str | None = None
    scheduled: bool = False
    effect: bool = False
    resource: str | None = None
    changes: tuple[str, ...] = ()
    minutes: int | None = None
    results: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


def below(jobs: Sequence[Job], folder: str) -> tuple[Job, ...]:
    """The jobs of a project in a ``folder`` of its repository, for a file at the top of the repository.

    Names begin with the folder, so that several projects can share the file. The
    resource of an approval keeps its name, because it is the team's environment.
    """
    if not folder:
        return tuple(jobs)
    return tuple(
        replace(
            job,
            name=f"{folder}:{job.name}",
            command=f"cd {shlex.quote(folder)} && {job.command}",
            needs=tuple(f"{folder}:{need}" for need in job.needs),
            resource=f"{folder}/{job.resource}" if job.resource and not job.approval else job.resource,
            changes=_within(folder, job.changes),
            results=_within(folder, job.results),
            kept=_within(folder, job.kept),
        )
        for job in jobs
    )


def _within(folder: str, paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{folder}/{path}" for path in paths)


def levels_of(jobs: Sequence[Job]) -> dict[str, int]:
    """Each job's distance from the start: 1 without needs, else one more than the furthest need."""
    levels: dict[str, int] = {}
    for job in jobs:
        levels[job.name] = 1 + max((levels[need] for need in job.needs), default=0)
    return levels


MARGIN_MINUTES = 10
"""What a job may take in addition to its stages: for the image, data and reports."""


def jobs_of(
    stages: Sequence[Stage],
    changes: Mapping[str, Sequence[str] | None],
    *,
    file: str,
    layout: Layout,
    results: Sequence[str] = (),
    kept: Sequence[str] = (),
) -> tuple[Job, ...]:
    """The jobs of a pipeline, each after the jobs that it needs.

    ``changes`` maps a stage to the paths that its result depends on; None means
    all paths. With layout ``single``, stages that wait for an approval or a
    schedule, and stages that need those, each become a job; one job runs all
    others.

    Raises ConfigurationError for a stage that has the name of that job.
    """
    made = _jobs(order(stages), changes, file, layout)
    if [job.name for job in made].count(MAIN) > 1:
        raise ConfigurationError(
            f"the stage {MAIN!r} becomes a job with the name of the job that runs the other stages",
            hint='rename the stage, or set layout = "stages" under [tool.rondel.ci]',
        )
    return tuple(replace(job, results=tuple(results), kept=tuple(kept)) for job in made)


def _jobs(
    ordered: Sequence[Stage], changes: Mapping[str, Sequence[str] | None], file: str, layout: Layout
) -> tuple[Job, ...]:
    if layout == "stages":
        return tuple(_job(stage, ordered, changes, file) for stage in _bases(ordered))
    apart = _apart(ordered)
    together = [stage for stage in ordered if stage.name not in apart]
    main = _single(together, changes, file) if together else None
    rest = [
        _job(stage, ordered, changes, file, main=main) for stage in _bases(ordered) if stage.name in apart
    ]
    return ((main,) if main else ()) + tuple(rest)


def _bases(stages: Sequence[Stage]) -> list[Stage]:
    """One stage for each declaration: all points of a matrix run in one job."""
    return list({stage.base: stage for stage in reversed(stages)}.values())[::-1]


def _apart(stages: Sequence[Stage]) -> frozenset[str]:
    apart: set[str] = set()
    for stage in stages:
        if stage.approval or stage.on or apart & set(stage.needs):
            apart.add(stage.name)
    return frozenset(apart)


def _single(stages: Sequence[Stage], changes: Mapping[str, Sequence[str] | None], file: str) -> Job:
    needed = {need for stage in stages for need in stage.needs}
    targets = dict.fromkeys(stage.base for stage in stages if stage.name not in needed)
    effects = any(not stage.pure for stage in stages)
    return Job(
        name=MAIN,
        command=shlex.join(["dagger", "run", "python", file, *targets]),
        effect=effects,
        resource="pipeline" if effects else None,
        changes=_union(changes.get(stage.name, ()) for stage in stages),
        minutes=_minutes(stages),
    )


def _job(
    stage: Stage,
    stages: Sequence[Stage],
    changes: Mapping[str, Sequence[str] | None],
    file: str,
    *,
    main: Job | None = None,
) -> Job:
    by_name = {each.name: each for each in stages}
    same = [each for each in stages if each.base == stage.base]
    apart = _apart(stages) if main else frozenset(by_name)
    needs = dict.fromkeys(
        by_name[need].base if need in apart or main is None else main.name
        for each in same
        for need in each.needs
    )
    return Job(
        name=stage.base,
        command=shlex.join(["dagger", "run", "python", file, stage.base, "--only"]),
        needs=tuple(needs),
        approval=stage.approval,
        scheduled=stage.on == "schedule",
        effect=not stage.pure,
        resource=None if stage.pure else (stage.approval or stage.base),
        changes=_union(changes.get(name, ()) for name in _starting(by_name, same)),
        minutes=_minutes(same),
    )


def _upstream(by_name: Mapping[str, Stage], stages: Sequence[Stage]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    queue = [stage.name for stage in stages]
    while queue:
        name = queue.pop()
        if name not in found:
            found[name] = None
            queue.extend(by_name[name].needs)
    return tuple(found)


def _starting(by_name: Mapping[str, Stage], stages: Sequence[Stage]) -> tuple[str, ...]:
    """The stages whose changes start a job: its own and those it needs, and those of the jobs that need it.

    A job's results are not in git, so it has to run together with the jobs that need them.
    """
    mine = {stage.name for stage in stages}
    later = [each for each in by_name.values() if mine & set(_upstream(by_name, [each]))]
    return _upstream(by_name, [*stages, *later])


def _union(paths: Iterable[Sequence[str] | None]) -> tuple[str, ...]:
    """All paths; empty, which means every change, if one of the groups is None."""
    groups = list(paths)
    if any(group is None for group in groups):
        return ()
    return tuple(sorted({path for group in groups for path in group or ()}))


def _minutes(stages: Sequence[Stage]) -> int | None:
    """The sum of the stages' time limits; None if a stage has none."""
    limits = [stage.timeout for stage in stages if stage.timeout is not None]
    if len(limits) < len(stages):
        return None
    retries = [limit * (1 + stage.retries) for limit, stage in zip(limits, stages, strict=True)]
    return int(sum(retries) // 60) + 1 + MARGIN_MINUTES
