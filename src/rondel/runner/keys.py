"""The key of a stage: everything that its result depends on, as the project is now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rondel.cache import code_parts, load_entries, make_key
from rondel.context.registry import operations_of
from rondel.errors import RondelError
from rondel.operations.operation import KeyParts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rondel.data.visibility import Visibility
    from rondel.operations.operation import Call
    from rondel.operations.project import Project
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
    workspace: Mapping[str, str] | None = None,
) -> KeyRecord:
    """The key of ``stage`` if it made these ``calls`` now.

    ``undeclared`` are files that its commands read without declaring them.
    After it ran, ``recipe`` is that of the image that it ran in, and ``workspace``
    are the files that it saw. Raises what the project raises: DataError,
    ConfigurationError, TrackingUnavailable.
    """
    operations = operations_of(calls)
    made = frozenset(path for operation in operations for path in operation.outputs(project))
    parts = KeyParts(parameters=dict(stage.variant), made=made)
    for number, operation in enumerate(operations):
        operation.add_to_key(parts, number, stage, project, overrides)
    if stage.git:
        parts.inputs["git commit"] = project.commit()
    if any(operation.reads_workspace for operation in operations):
        parts.inputs |= project.workspace(stage) if workspace is None else workspace
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


def known_calls(stage: Stage, project: Project) -> Sequence[Call]:
    """The calls of the latest success of ``stage``; without one, those in its source."""
    cache_entries = load_entries(project.root, stage.name)
    return cache_entries[0].uses if cache_entries else stage.calls


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a stage sees of the workspace: which results of stages, and all files with their hashes.

    Both are None for a stage of which no call is known that may read any file.
    """

    visibility: Visibility | None = None
    files: Mapping[str, str] | None = None


def view_before(stage: Stage, project: Project) -> View:
    """What ``stage`` will see if it starts now. Raises DataError for files that can't be read."""
    calls = (*stage.calls, *known_calls(stage, project))
    if not any(operation.reads_workspace for operation in operations_of(calls)):
        return View()
    return View(visibility=project.visibility(stage), files=project.workspace(stage))


def key_before(stage: Stage, project: Project, overrides: Mapping[str, Any]) -> KeyRecord | None:
    """The key of ``stage`` before it runs, from the calls that are known."""
    calls = known_calls(stage, project)
    try:
        return stage_key(stage, calls, project, overrides, host_image=True)
    except RondelError:  # reported when the stage is decided
        return None
