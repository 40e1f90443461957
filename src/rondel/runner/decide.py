"""Decides about single stages and whole plans, with what is kept of successes on disk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rondel.cache import load_entries
from rondel.errors import RondelError
from rondel.runner.keys import Decision, decide, stage_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.operations.project import Project
    from rondel.pipeline import Stage
    from rondel.record import KeyRecord
    from rondel.runner.prepared import PreparedRun


def decide_stage(stage: Stage, project: Project, overrides: Mapping[str, Any], use_cache: bool) -> Decision:
    """What becomes of a stage now."""
    cache_entries = load_entries(project.root, stage.name) if stage.pure else ()
    return decide(stage, cache_entries, project, overrides, use_cache=use_cache)


def forecast(prepared: PreparedRun) -> dict[str, Decision]:
    """What would happen to each stage if nothing changed on the way.

    A stage behind one that runs is only expected to run: if the other one
    makes the same results as before, it is found to be unchanged after all.
    Stages that succeeded in a run that is resumed are taken from it; what that
    run kept in its folder is taken by its key, with ``--no-cache``, too.
    """
    project, overrides = prepared.project, prepared.overrides
    done, kept = prepared.resumption.done, prepared.resumption.kept
    found: dict[str, Decision] = {}
    expected = False
    for planned in prepared.plan.stages:
        if planned.name in done:
            found[planned.name] = Decision(action="cached", reason="succeeded in the resumed run")
            continue
        cached = prepared.settings.cache or planned.name in kept
        decision = decide_stage(planned.stage, project, overrides.get(planned.name, {}), cached)
        above = [need for need in planned.waits_for if found[need].run]
        if above and not decision.run:
            reason = f"after {above[0]}, if that changes its inputs"
            decision = replace(decision, action="run", reason=reason)
        elif any(result.location != "working tree" for found in decision.results for result in found.cached):
            project.expect(decision.results)
            expected = True
        found[planned.name] = decision
    if expected:
        project.changed()
    return found


def key_before(stage: Stage, project: Project, overrides: Mapping[str, Any]) -> KeyRecord | None:
    """The key of what a run of ``stage`` is about to make, as far as that can be told before it runs."""
    cache_entries = load_entries(project.root, stage.name)
    calls = cache_entries[0].uses if cache_entries else stage.calls
    try:
        return stage_key(stage, calls, project, overrides, host_image=True)
    except RondelError:  # told when the stage is decided
        return None
