"""The key of a stage, from what a success of it used and what the project is now; and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rondel.cache import StageCacheEntry, code_parts, compare, describe, make_key, may_be_host_image
from rondel.context.registry import operations_of
from rondel.operations.operation import KeyParts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rondel.operations.operation import Call
    from rondel.operations.project import DvcResults, Project
    from rondel.pipeline import Stage
    from rondel.record import KeyRecord


def stage_key(
    stage: Stage,
    calls: Iterable[Call],
    project: Project,
    overrides: Mapping[str, Any],
    *,
    host_image: bool,
    undeclared: Iterable[str] = (),
    recipe: Mapping[str, str] | None = None,
) -> KeyRecord:
    """The key of ``stage`` if it made the ``calls`` of its context now.

    ``undeclared`` are the files that its commands are known to read beside
    what they declare. ``recipe`` is that of the image that it ran in, once it
    did. Raises what the project raises: DataError, ConfigurationError,
    TrackingUnavailable.
    """
    operations = operations_of(calls)
    made = frozenset(path for operation in operations for path in operation.outputs(project))
    parts = KeyParts(parameters=dict(stage.variant), made=made)
    for number, operation in enumerate(operations):
        operation.add_to_key(parts, number, stage, project, overrides)
    if stage.git:
        parts.inputs["git commit"] = project.commit()
    if any(operation.reads_workspace for operation in operations):
        parts.inputs |= project.workspace()
    shared_parts = project.shared_parts().parts(on_host=host_image) if operations else {}
    if shared_parts and recipe:
        shared_parts["image"] = recipe
    return make_key(
        {
            **shared_parts,
            "code": code_parts(stage.body, project.root),
            "command": parts.command,
            "parameters": parts.parameters,
            "inputs": parts.inputs,
            "undeclared": {path: project.file_hash(path) or "missing" for path in undeclared},
            "champion": parts.champion,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What becomes of a stage, and a few words why.

    It is ``cached`` where an earlier success holds and its results are here or
    kept here, ``restored`` where DVC has to bring them, for which it needs a
    container, and otherwise it runs. ``cache_entry`` is that success, ``results``
    are those of its calls of ``ctx.dvc``. ``key`` is today's, where it could be told.
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
        """Whether nothing is to be done for it but what this process does by itself."""
        return self.action == "cached"


def decide(
    stage: Stage,
    cache_entries: Sequence[StageCacheEntry],
    project: Project,
    overrides: Mapping[str, Any],
    *,
    use_cache: bool = True,
) -> Decision:
    """What becomes of ``stage``. An effect always runs; a pure stage unless an earlier success holds."""
    if not stage.pure:
        return Decision(reason="an effect always runs")
    if not use_cache:
        return Decision(reason="--no-cache")
    # The success that is least apart explains best; of several the newest, which comes first.
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
            return _held(stage, cache_entry, key=key, project=project, overrides=overrides)
        changes = compare(cache_entry.key, key)
        if nearest is None or len(changes) < nearest[0]:
            nearest = (len(changes), Decision(reason=describe(changes), key=key))
    explained = nearest[1] if nearest else None
    if _is_plain(stage, project):
        # Nothing but stages of dvc.yaml: what is known of those is known of it.
        return _by_dvc(stage, project, overrides, explained)
    return explained or Decision(reason="no earlier result of it is cached here")


def _held(
    stage: Stage, cache_entry: StageCacheEntry, key: KeyRecord, project: Project, overrides: Mapping[str, Any]
) -> Decision:
    """What becomes of a stage that succeeded under today's key: are its results still there?"""
    results = _results(stage, cache_entry.uses, project, overrides, run=cache_entry.run)
    lost = next((found.reason for found in results if found.reason), "") or _lost_output(cache_entry, project)
    if lost:
        return Decision(reason=lost, key=key)
    return _reuse(cache_entry, key, results)


def _by_dvc(
    stage: Stage, project: Project, overrides: Mapping[str, Any], explained: Decision | None
) -> Decision:
    results = _results(stage, stage.calls, project, overrides, run=None)
    reason = next((found.reason for found in results if found.reason), "")
    if reason:
        return explained or Decision(reason=reason)
    last = results[-1].cached[-1].cache_entry
    on_host = may_be_host_image(last.image.source if last.image else None)
    undeclared = sorted({path for found in results for path in found.undeclared})
    key = stage_key(stage, stage.calls, project, overrides, host_image=on_host, undeclared=undeclared)
    return _reuse(project.entry_of(stage, results, key), key, results)


def _reuse(cache_entry: StageCacheEntry, key: KeyRecord, results: tuple[DvcResults, ...]) -> Decision:
    frozen = next((result.why for found in results for result in found.cached if result.why), "")
    made = f"run {cache_entry.run}" if cache_entry.run else "a run that is not known"
    reason = f"{frozen}: the result of {made}" if frozen else f"unchanged since {made}"
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
        reason += "; its results are put back"
    return Decision(action="cached", reason=reason, key=key, cache_entry=cache_entry, results=results)


def _results(
    stage: Stage,
    calls: Iterable[Call],
    project: Project,
    overrides: Mapping[str, Any],
    *,
    run: str | None,
) -> tuple[DvcResults, ...]:
    """What serves the stage's calls of ``ctx.dvc``; ``run`` made them, where shell commands precede them."""
    found: list[DvcResults] = []
    shell_run: str | None = None
    for operation in operations_of(calls):
        if operation.changes_container:
            shell_run = run
        elif (results := operation.results(stage, project, overrides, shell_run)) is not None:
            found.append(results)
    return tuple(found)


def _is_plain(stage: Stage, project: Project) -> bool:
    """Whether the stage does nothing but run stages of ``dvc.yaml``, by code of Rondel's own."""
    operations = operations_of(stage.calls)
    kept = bool(operations) and all(each.keeps_results and each.literal for each in operations)
    return kept and not code_parts(stage.body, project.root)


def _lost_output(cache_entry: StageCacheEntry, project: Project) -> str:
    """What is no longer in place of what a stage's shell commands made; an empty text if all is."""
    for path, known in cache_entry.outputs.items():
        now = project.file_hash(path)
        if now != known:
            return f"output {path} {'was changed' if now else 'is gone'}"
    return ""
