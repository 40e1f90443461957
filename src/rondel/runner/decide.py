"""Decides whether a stage runs, is restored or is cached; forecasts it for a whole plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from rondel.cache import StageCacheEntry, code_parts, compare, describe, load_entries, may_be_host_image
from rondel.context.registry import operations_of
from rondel.runner.keys import stage_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rondel.operations.operation import Call
    from rondel.operations.project import DvcResults, Project
    from rondel.pipeline import Stage
    from rondel.record import KeyRecord
    from rondel.runner.prepared import PreparedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether a stage runs, and why.

    ``cached``: an earlier success is still valid, and its results are in the working tree or in the
    stage cache. ``restore``: it is valid, but DVC has to fetch the results, in a container. Otherwise
    the stage runs. ``cache_entry`` is that success, ``results`` are those of its calls of ``ctx.dvc``.
    ``key`` is the stage's key now, if it could be made.
    """

    action: Literal["run", "restore", "cached"] = "run"
    reason: str
    key: KeyRecord | None = None
    cache_entry: StageCacheEntry | None = None
    results: tuple[DvcResults, ...] = ()

    @property
    def run(self) -> bool:
        """Whether the stage runs."""
        return self.action == "run"

    @property
    def idle(self) -> bool:
        """Whether the stage needs no container."""
        return self.action == "cached"


def decide_stage(stage: Stage, project: Project, overrides: Mapping[str, Any], use_cache: bool) -> Decision:
    """Decide about a stage, with the entries that the stage cache has for it now."""
    cache_entries = load_entries(project.root, stage.name) if stage.pure else ()
    return decide(stage, cache_entries, project, overrides, use_cache=use_cache)


def forecast(prepared: PreparedRun) -> dict[str, Decision]:
    """What would happen to each stage if the run started now.

    A stage after one that runs is only expected to run: if the other stage
    makes the same results as before, it turns out to be unchanged.
    Stages that succeeded in a resumed run are taken over. Results that the
    resumed run kept in its folder are looked up by key, also with ``--no-cache``.
    """
    project, overrides = prepared.project, prepared.overrides
    done, kept = prepared.resumption.done, prepared.resumption.kept
    found: dict[str, Decision] = {}
    assumed = False
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
            project.assume_restored(decision.results)
            assumed = True
        found[planned.name] = decision
    if assumed:
        project.invalidate()
    return found


def decide(
    stage: Stage,
    cache_entries: Sequence[StageCacheEntry],
    project: Project,
    overrides: Mapping[str, Any],
    *,
    use_cache: bool = True,
) -> Decision:
    """Decide about ``stage``: an effect always runs; a pure stage unless an earlier success is valid."""
    if not stage.pure:
        return Decision(reason="an effect always runs")
    if not use_cache:
        return Decision(reason="--no-cache")
    # The success with the fewest changes gives the reason; of several the newest, which comes first.
    nearest: tuple[int, Decision] | None = None
    for cache_entry in cache_entries:
        key = stage_key(
            stage,
            cache_entry.uses,
            project,
            overrides,
            host_image=may_be_host_image(cache_entry.image.source if cache_entry.image else None),
            undeclared=cache_entry.key.parts.get("undeclared", {}),
        )
        if key.digest == cache_entry.key.digest:
            return _reuse_if_present(stage, cache_entry, key=key, project=project, overrides=overrides)
        changes = compare(cache_entry.key, key)
        if nearest is None or len(changes) < nearest[0]:
            nearest = (len(changes), Decision(reason=describe(changes), key=key))
    changed = nearest[1] if nearest else None
    if _only_runs_dvc_stages(stage, project):
        # Then the results of its dvc stages are all of its results.
        return _decide_by_dvc_results(stage, project, overrides, changed)
    return changed or Decision(reason="no cached result")


def _reuse_if_present(
    stage: Stage, cache_entry: StageCacheEntry, key: KeyRecord, project: Project, overrides: Mapping[str, Any]
) -> Decision:
    """Reuse a success under the same key, unless some of its results are lost."""
    results = _results(stage, cache_entry.uses, project, overrides, run=cache_entry.run)
    lost = next((found.reason for found in results if found.reason), "") or _lost_output(cache_entry, project)
    if lost:
        return Decision(reason=lost, key=key)
    return _reuse(cache_entry, key, results)


def _decide_by_dvc_results(
    stage: Stage, project: Project, overrides: Mapping[str, Any], changed: Decision | None
) -> Decision:
    results = _results(stage, stage.calls, project, overrides, run=None)
    reason = next((found.reason for found in results if found.reason), "")
    if reason:
        return changed or Decision(reason=reason)
    last = results[-1].cached[-1].cache_entry
    on_host = may_be_host_image(last.image.source if last.image else None)
    undeclared = sorted({path for found in results for path in found.undeclared})
    key = stage_key(stage, stage.calls, project, overrides, host_image=on_host, undeclared=undeclared)
    return _reuse(project.entry_of(stage, results, key), key, results)


def _reuse(cache_entry: StageCacheEntry, key: KeyRecord, results: tuple[DvcResults, ...]) -> Decision:
    frozen = next((result.why for found in results for result in found.cached if result.why), "")
    run = f"run {cache_entry.run}" if cache_entry.run else "an unknown run"
    reason = f"{frozen}: the result of {run}" if frozen else f"unchanged since {run}"
    locations = {result.location for found in results for result in found.cached}
    if "dvc" in locations:
        return Decision(
            action="restore",
            reason=f"{reason}; DVC has its results",
            key=key,
            cache_entry=cache_entry,
            results=results,
        )
    if "stage cache" in locations:
        reason += "; its results are restored"
    return Decision(action="cached", reason=reason, key=key, cache_entry=cache_entry, results=results)


def _results(
    stage: Stage,
    calls: Iterable[Call],
    project: Project,
    overrides: Mapping[str, Any],
    *,
    run: str | None,
) -> tuple[DvcResults, ...]:
    """The earlier results of the stage's calls of ``ctx.dvc``.

    After a shell command, which may change the container, only those of ``run`` are valid.
    """
    found: list[DvcResults] = []
    shell_run: str | None = None
    for operation in operations_of(calls):
        if operation.changes_container:
            shell_run = run
        elif (results := operation.results(stage, project, overrides, shell_run)) is not None:
            found.append(results)
    return tuple(found)


def _only_runs_dvc_stages(stage: Stage, project: Project) -> bool:
    """Whether the stage only runs stages of ``dvc.yaml`` and its function is Rondel's, not the team's."""
    operations = operations_of(stage.calls)
    all_kept = bool(operations) and all(each.keeps_results and each.literal for each in operations)
    return all_kept and not code_parts(stage.body, project.root)


def _lost_output(cache_entry: StageCacheEntry, project: Project) -> str:
    """Which output of the stage's shell commands changed or is gone; an empty text if none."""
    for path, known in cache_entry.outputs.items():
        now = project.file_hash(path)
        if now != known:
            return f"output {path} {'was changed' if now else 'is gone'}"
    return ""
