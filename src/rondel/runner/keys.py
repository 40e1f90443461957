"""The key of a stage: everything that its result depends on, as the project is now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rondel.cache import code_parts, load_entries, make_key
from rondel.context.registry import operations_of
from rondel.errors import RondelError
from rondel.operations.operation import KeyParts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
) -> KeyRecord:
    """The key of ``stage`` if it made these ``calls`` now.

    ``undeclared`` are files that its commands read without declaring them.
    ``recipe`` is that of the image that it ran in, after it ran. Raises what
    the project raises: DataError, ConfigurationError, TrackingUnavailable.
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


def key_before(stage: Stage, project: Project, overrides: Mapping[str, Any]) -> KeyRecord | None:
    """The key of ``stage`` before it runs, from the calls of its latest success or its source."""
    cache_entries = load_entries(project.root, stage.name)
    calls = cache_entries[0].uses if cache_entries else stage.calls
    try:
        return stage_key(stage, calls, project, overrides, host_image=True)
    except RondelError:  # reported when the stage is decided
        return None
