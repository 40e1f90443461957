"""Which CI jobs a pipeline becomes: decided here, written down by each wrapper."""

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
"""The job of all stages that run by themselves."""

Layout = Literal["single", "stages"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One CI job.

    ``command`` is its one line of work. ``needs`` are names of other jobs.
    ``approval`` makes it start by hand; ``scheduled`` keeps it to scheduled
    pipelines. ``effect``: it acts on the outside world, so that it is never
    interrupted, repeated, or run beside another of its ``resource``.
    ``changes`` are the paths, as git's glob patterns, whose change starts it;
    none: every change. ``minutes`` is its time limit. ``results`` are files of
    the working tree that it may write, for jobs after it and for people;
    ``kept`` are folders that make the next pipeline faster.
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
    """The jobs of a project in ``folder`` of its repository, in a file at the top of that.

    Names tell the project, so that those of several don't meet. An approval's resource is an
    environment, which is what the team calls it.
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
    """How far each job is from the start: 1, or one more than the furthest of its needs."""
    levels: dict[str, int] = {}
    for job in jobs:
        levels[job.name] = 1 + max((levels[need] for need in job.needs), default=0)
    return levels


MARGIN_MINUTES = 10
"""What a job may take besides its stages: image, data, reports."""


def jobs_of(
    stages: Sequence[Stage],
    changes: Mapping[str, Sequence[str] | None],
    *,
    file: str,
    layout: Layout,
    results: Sequence[str] = (),
    kept: Sequence[str] = (),
) -> tuple[Job, ...]:
    """The jobs of a pipeline, each after those that it needs.

    ``changes`` has, by stage, the paths that its result depends on; None: all there are. Layout
    ``single`` makes one job of all that runs by itself; stages that wait for
    an approval or a schedule, and what needs them, are jobs of their own.

    Raises ConfigurationError for a stage that is called like the job of the others.
    """
    made = _jobs(order(stages), changes, file, layout)
    if [job.name for job in made].count(MAIN) > 1:
        raise ConfigurationError(
            f"the stage {MAIN!r} has a job of its own, and so have the others together, of the same name",
            hint='call the stage otherwise, or set layout = "stages" under [tool.rondel.ci]',
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
    """One stage for each declaration: the points of a matrix run in one job, at once."""
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
    """The stages whose changes start a job: all that it stands on, and for its sake what those after it do.

    What a job needs from one before it is nowhere in git, so the two start together.
    """
    mine = {stage.name for stage in stages}
    later = [each for each in by_name.values() if mine & set(_upstream(by_name, [each]))]
    return _upstream(by_name, [*stages, *later])


def _union(paths: Iterable[Sequence[str] | None]) -> tuple[str, ...]:
    """All of them; none, which stands for every change, where one stage may start for any."""
    groups = list(paths)
    if any(group is None for group in groups):
        return ()
    return tuple(sorted({path for group in groups for path in group or ()}))


def _minutes(stages: Sequence[Stage]) -> int | None:
    """The stages' time limits together; None when one of them has none."""
    limits = [stage.timeout for stage in stages if stage.timeout is not None]
    if len(limits) < len(stages):
        return None
    retries = [limit * (1 + stage.retries) for limit, stage in zip(limits, stages, strict=True)]
    return int(sum(retries) // 60) + 1 + MARGIN_MINUTES
