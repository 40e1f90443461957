"""The plan of one run: which stages run, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError, did_you_mean
from rondel.pipeline.graph import closure, dependants, order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.pipeline.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the command line requests: targets, only them, or everything from a stage on."""

    targets: tuple[str, ...] = ()
    only: bool = False
    from_: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """A stage of the plan. ``waits_for`` are the stages of this plan that it needs."""

    stage: Stage
    waits_for: tuple[str, ...]

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The stages of one run in topological order."""

    selection: Selection
    stages: tuple[PlannedStage, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The stages' names in the order of the plan."""
        return tuple(planned.name for planned in self.stages)

    def get(self, name: str) -> PlannedStage:
        """The planned stage with this name. Raises KeyError if the plan does not have it."""
        for planned in self.stages:
            if planned.name == name:
                return planned
        raise KeyError(name)

    def dependants(self, name: str) -> frozenset[str]:
        """The planned stages that wait for ``name``, directly or indirectly."""
        waiting = [planned.stage.with_needs(planned.waits_for) for planned in self.stages]
        return dependants(waiting, name)

    def waves(self) -> tuple[tuple[str, ...], ...]:
        """The stages in groups: a group can run at once when the groups before it are done."""
        depth: dict[str, int] = {}
        for planned in self.stages:
            depth[planned.name] = 1 + max((depth[need] for need in planned.waits_for), default=-1)
        return tuple(
            tuple(name for name in depth if depth[name] == level)
            for level in range(max(depth.values(), default=-1) + 1)
        )


def resolve(stages: Sequence[Stage], name: str) -> tuple[str, ...]:
    """The stages called ``name``: itself, or all stages of its matrix.

    Raises ConfigurationError with the nearest match if there is no such stage.
    """
    names = [stage.name for stage in stages if name in {stage.name, stage.base}]
    if not names:
        known = {stage.base for stage in stages} | {stage.name for stage in stages}
        raise ConfigurationError(f"there is no stage {name!r}", hint=did_you_mean(name, known))
    return tuple(names)


def make_plan(stages: Sequence[Stage], selection: Selection) -> Plan:
    """Select and order the stages of a run.

    By default, these are the targets and everything that they need. ``only``: just
    the targets. ``from_``: of the default selection, this stage and what depends on
    it. Raises ConfigurationError for unknown stages, for ``only`` together with
    ``from_``, and for a ``from_`` that the targets don't depend on.
    """
    if selection.only and selection.from_ is not None:
        raise ConfigurationError(
            "--only and --from can't be combined",
            hint="--only runs just the named stages; --from runs a stage and everything between it and them",
        )
    by_name: Mapping[str, Stage] = {stage.name: stage for stage in stages}
    targets = [name for target in selection.targets for name in resolve(stages, target)]
    if not targets and selection.from_ is None:
        known = ", ".join(dict.fromkeys(stage.base for stage in stages)) or "the pipeline has no stages"
        raise ConfigurationError("no stage to run", hint=f"name one of: {known}")
    unscheduled = [stage.name for stage in stages if stage.on is None]
    chosen = frozenset(targets) if selection.only else closure(by_name, targets or unscheduled)
    if selection.from_ is not None:
        starts = resolve(stages, selection.from_)
        after = frozenset(starts).union(*(dependants(stages, start) for start in starts))
        if targets and not after & chosen:
            raise ConfigurationError(
                f"{' and '.join(selection.targets)} does not depend on {selection.from_!r}",
                hint="--from takes a stage that the targets depend on",
            )
        chosen = after & chosen
    planned = [
        PlannedStage(
            stage=stage,
            waits_for=_nearest(by_name, stage, chosen),
        )
        for stage in order(stage for stage in stages if stage.name in chosen)
    ]
    return Plan(selection=selection, stages=tuple(planned))


def _nearest(stages: Mapping[str, Stage], stage: Stage, chosen: frozenset[str]) -> tuple[str, ...]:
    """The chosen stages that ``stage`` needs, directly or through stages that were not chosen."""
    found: dict[str, None] = {}
    for need in stage.needs:
        for name in (need,) if need in chosen else _nearest(stages, stages[need], chosen):
            found[name] = None
    return tuple(found)
