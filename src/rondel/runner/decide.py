"""Decides about single stages and whole plans, with the memory that lies on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.cache import StageMemory, recall
from rondel.runner.keys import Decision, decide

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rondel.pipeline import Plan, Stage
    from rondel.runner.project import Project


def decide_stage(
    stage: Stage, project: Project, overrides: Mapping[str, Any], use_cache: bool
) -> tuple[Decision, StageMemory | None]:
    """Whether a stage has to run now, and its last success."""
    memory = recall(project.root, stage.name) if stage.pure else None
    return decide(stage, memory, project, overrides, use_cache=use_cache), memory


def forecast(
    plan: Plan,
    project: Project,
    overrides: Mapping[str, Mapping[str, Any]],
    *,
    use_cache: bool,
    done: Collection[str] = (),
) -> dict[str, tuple[Decision, StageMemory | None]]:
    """What would happen to each stage if nothing changed on the way.

    A stage behind one that runs is only expected to run: if the other one
    makes the same results as before, it is found to be unchanged after all.
    Stages that are ``done`` were so in a run that is resumed.
    """
    found: dict[str, tuple[Decision, StageMemory | None]] = {}
    for planned in plan.stages:
        if planned.name in done:
            found[planned.name] = (Decision(run=False, reason="succeeded in the resumed run"), None)
            continue
        given = overrides.get(planned.name, {})
        decision, memory = decide_stage(planned.stage, project, given, use_cache)
        above = [need for need in planned.waits_for if found[need][0].run]
        if above and not decision.run:
            decision = Decision(run=True, reason=f"after {above[0]}, if that changes its inputs")
        found[planned.name] = (decision, memory)
    return found
