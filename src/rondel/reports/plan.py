"""A pipeline's stages and a plan as text, for ``--list`` and ``--dry-run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.context.registry import operations_of
from rondel.reports.terminal import columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.operations.project import Project
    from rondel.pipeline import Plan, Stage
    from rondel.runner.decide import Decision
    from rondel.runner.prepared import PreparedRun


def show_stages(stages: Sequence[Stage]) -> list[str]:
    """One line for each stage: name, kind, needs, and its docstring or what it calls."""
    rows = [
        (stage.name, stage.kind, ", ".join(stage.needs), stage.doc or _summary(stage)) for stage in stages
    ]
    return columns(("stage", "kind", "needs", "does"), rows)


def _summary(stage: Stage) -> str:
    return ", ".join(f"{each.kind} {each.name}".strip() for each in operations_of(stage.calls))


def show_plan(prepared: PreparedRun, decisions: Mapping[str, Decision], *, engine: str) -> list[str]:
    """What would run, in which order, why and with what. The same input gives the same text."""
    plan, settings = prepared.plan, prepared.settings
    lines = [f"image: {settings.containerfile}, target {settings.target}", f"engine: {engine}", ""]
    for number, wave in enumerate(plan.waves(), start=1):
        lines.append(f"{number}. {'in parallel: ' if len(wave) > 1 else ''}{', '.join(wave)}")
        for name in wave:
            lines += _stage(plan, name, decisions[name], prepared.project, prepared.overrides.get(name, {}))
    return lines


def _stage(
    plan: Plan, name: str, decision: Decision, project: Project, overrides: Mapping[str, Any]
) -> list[str]:
    planned = plan.get(name)
    stage = planned.stage
    word = {"run": "runs", "restore": "restored", "cached": "cached"}[decision.action]
    lines = [f"   {name}: {word}, {decision.reason}" if decision.reason else f"   {name}: {word}"]
    if planned.waits_for:
        lines.append(f"     after {', '.join(planned.waits_for)}")
    for operation in operations_of(stage.calls):
        lines += [f"     {text}" for text in operation.describe(project, overrides)]
    lines += [f"     {key} = {value!r}" for key, value in {**stage.variant, **overrides}.items()]
    limits = [f"time limit {stage.timeout:g} s"] if stage.timeout else []
    limits += [f"{stage.retries} retries"] if stage.retries else []
    return [*lines, *(f"     {text}" for text in limits)]
