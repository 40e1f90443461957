"""The graph of stages: checks it, orders it, expands matrices."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rondel.pipeline.stage import Stage


def check_stages(stages: Sequence[Stage]) -> None:
    """Raise one ConfigurationError that names all mistakes, if there are any."""
    mistakes = [*_duplicates(stages), *_unknown_needs(stages), *_empty_matrices(stages)]
    # Cycles are only certain if all names and needs are valid.
    mistakes = mistakes or _cycles(stages)
    if not mistakes:
        return
    if len(mistakes) == 1:
        place, what, hint = mistakes[0]
        raise ConfigurationError(what, place=place, hint=hint)
    lines = [f"{place}: {what}" + (f" ({hint})" if hint else "") for place, what, hint in mistakes]
    raise ConfigurationError(f"the pipeline has {len(mistakes)} mistakes", why="\n".join(lines))


Mistake = tuple[str, str, str | None]


def _duplicates(stages: Sequence[Stage]) -> list[Mistake]:
    seen: dict[str, Stage] = {}
    mistakes: list[Mistake] = []
    for stage in stages:
        if first := seen.get(stage.name):
            what = f"stage {stage.name!r} is declared twice; the first is at {first.place}"
            mistakes.append((str(stage.place), what, "give one of them another name"))
        seen.setdefault(stage.name, stage)
    return mistakes


def _unknown_needs(stages: Sequence[Stage]) -> list[Mistake]:
    known = {stage.name for stage in stages}
    return [
        (
            str(stage.place),
            f"stage {stage.name!r} needs {need!r}, which does not exist",
            did_you_mean(need, known),
        )
        for stage in stages
        for need in stage.needs
        if need not in known
    ]


def _empty_matrices(stages: Sequence[Stage]) -> list[Mistake]:
    return [
        (str(stage.place), f"stage {stage.name!r}: the matrix has no value for {key!r}", None)
        for stage in stages
        for key, values in stage.matrix.items()
        if not values
    ]


def _cycles(stages: Sequence[Stage]) -> list[Mistake]:
    by_name = {stage.name: stage for stage in stages}
    done: set[str] = set()
    found: list[Mistake] = []
    for start in by_name:
        trail: list[str] = []
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                trail.pop()
                done.add(name)
                continue
            if name in trail:
                cycle = [*trail[trail.index(name) :], name]
                what = "stages depend on each other in a cycle: " + " → ".join(cycle)
                found.append((str(by_name[cycle[0]].place), what, "remove one of these needs"))
                return found
            if name in done:
                continue
            trail.append(name)
            stack.append((name, True))
            stack.extend((need, False) for need in reversed(by_name[name].needs))
    return found


def order(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """Sort stages topologically; otherwise they stay in the order of declaration."""
    waiting = list(stages)
    names = {stage.name for stage in waiting}
    placed: dict[str, Stage] = {}
    while waiting:
        ready = next(s for s in waiting if all(need in placed or need not in names for need in s.needs))
        placed[ready.name] = ready
        waiting.remove(ready)
    return tuple(placed.values())


def closure(stages: Mapping[str, Stage], targets: Iterable[str]) -> frozenset[str]:
    """The targets and everything that they need, directly or indirectly."""
    wanted: set[str] = set()
    queue = list(targets)
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted.add(name)
            queue.extend(stages[name].needs)
    return frozenset(wanted)


def dependants(stages: Iterable[Stage], of: str) -> frozenset[str]:
    """The stages that need ``of``, directly or indirectly; not ``of`` itself."""
    everything = {stage.name: stage for stage in stages}
    return frozenset(name for name in everything if name != of and of in closure(everything, [name]))


def expand_matrices(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Replace each stage with a matrix by one stage per combination, such as ``train[alpha=0.1,depth=3]``.

    A stage that needs ``train`` then needs all of them.
    """
    variants: dict[str, list[tuple[str, dict[str, object]]]] = {}
    for stage in stages:
        points = [
            dict(zip(stage.matrix, point, strict=True)) for point in itertools.product(*stage.matrix.values())
        ]
        variants[stage.name] = [
            (
                f"{stage.name}[{','.join(f'{k}={v}' for k, v in point.items())}]" if point else stage.name,
                point,
            )
            for point in points
        ]
    expanded: list[Stage] = []
    for stage in stages:
        needs = tuple(name for need in stage.needs for name, _ in variants[need])
        for name, point in variants[stage.name]:
            expanded.append(stage.with_variant(name, point, needs) if point else stage.with_needs(needs))
    return order(expanded)
