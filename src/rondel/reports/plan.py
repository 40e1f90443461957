"""A plan and a pipeline as text, for ``--dry-run`` and ``--list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.reports.table import columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.pipeline import Plan, Stage, StageCall
    from rondel.runner.keys import Decision
    from rondel.runner.project import Project
    from rondel.settings import Settings


def show_stages(stages: Sequence[Stage]) -> list[str]:
    """One line a stage: name, kind, needs, what it says of itself."""
    rows = [
        (stage.name, stage.kind, ", ".join(stage.needs), stage.doc or _said(stage.uses)) for stage in stages
    ]
    return columns(("stage", "kind", "needs", "does"), rows)


def _said(uses: Sequence[StageCall]) -> str:
    return ", ".join(f"{use.kind} {use.name}".strip() for use in uses)


def show_plan(
    plan: Plan,
    decisions: Mapping[str, Decision],
    project: Project,
    overrides: Mapping[str, Mapping[str, Any]],
    settings: Settings,
    *,
    engine: str,
) -> list[str]:
    """What would run, in which order, why, and with what. Equal input gives equal text."""
    lines = [f"image: {settings.containerfile}, target {settings.target}", f"engine: {engine}", ""]
    for number, wave in enumerate(plan.waves(), start=1):
        lines.append(f"{number}. {'at once: ' if len(wave) > 1 else ''}{', '.join(wave)}")
        for name in wave:
            lines += _stage(plan, name, decisions[name], project, overrides.get(name, {}))
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
    for use in stage.uses:
        lines += [f"     {text}" for text in _use(use, project, overrides)]
    lines += [f"     {key} = {value!r}" for key, value in {**stage.variant, **overrides}.items()]
    limits = [f"time limit {stage.timeout:g} s"] if stage.timeout else []
    limits += [f"{stage.retries} retries"] if stage.retries else []
    return [*lines, *(f"     {text}" for text in limits)]


def _use(use: StageCall, project: Project, overrides: Mapping[str, Any]) -> list[str]:
    if use.kind == "dvc" and use.name:
        return [f"dvc {each.address}: {each.command}" for each in project.dvc_inputs(use.name, overrides)]
    if use.kind == "gate":
        rules = [str(rule) for rule in use.details.get("rules", ())]
        return [f"gate{f' of {use.name}' if use.name else ''}:", *(f"  {rule}" for rule in rules)]
    return [f"{use.kind} {use.name}".rstrip()]
