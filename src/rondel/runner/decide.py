"""Decides about single stages and whole plans, with what is kept of successes on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.cache import load_entries
from rondel.errors import RondelError
from rondel.runner.keys import Decision, decide, stage_key

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rondel.pipeline import Plan, Stage
    from rondel.record import KeyRecord
    from rondel.runner.project import Project


def decide_stage(stage: Stage, project: Project, overrides: Mapping[str, Any], use_cache: bool) -> Decision:
    """What becomes of a stage now."""
    cache_entries = load_entries(project.root, stage.name) if stage.pure else ()
    return decide(stage, cache_entries, project, overrides, use_cache=use_cache)


def forecast(
    plan: Plan,
    project: Project,
    overrides: Mapping[str, Mapping[str, Any]],
    *,
    use_cache: bool,
    done: Collection[str] = (),
    kept: Collection[str] = (),
) -> dict[str, Decision]:
    """What would happen to each stage if nothing changed on the way.

    A stage behind one that runs is only expected to run: if the other one
    makes the same results as before, it is found to be unchanged after all.
    Stages that are ``done`` were so in a run that is resumed; what that run made of those that
    it ``kept`` is taken by its key, with ``--no-cache``, too.
    """
    found: dict[str, Decision] = {}
    expected = False
    for planned in plan.stages:
        if planned.name in done:
            found[planned.name] = Decision(action="cached", reason="succeeded in the resumed run")
            continue
        cached = use_cache or planned.name in kept
        decision = decide_stage(planned.stage, project, overrides.get(planned.name, {}), cached)
        above = [need for need in planned.waits_for if found[need].run]
        if above and not decision.run:
            reason = f"after {above[0]}, if that changes its inputs"
            decision = replace(decision, action="run", reason=reason)
        elif any(served.place != "in place" for found in decision.results for served in found.served):
            project.expect(decision.results)
            expected = True
        found[planned.name] = decision
    if expected:
        project.changed()
    return found


def key_before(stage: Stage, project: Project, overrides: Mapping[str, Any]) -> KeyRecord | None:
    """The key of what a run of ``stage`` is about to make, as far as that can be told before it runs."""
    cache_entries = load_entries(project.root, stage.name)
    uses = cache_entries[0].uses if cache_entries else stage.uses
    try:
        return stage_key(stage, uses, project, overrides, host_image=True)
    except RondelError:  # told when the stage is decided
        return None
