"""The key of a stage, from what its last success used and what the project is now; and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rondel.cache import StageMemory, code_parts, compare, describe, make_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.pipeline import Stage
    from rondel.record import KeyRecord
    from rondel.runner.project import Project


class UseLike(Protocol):
    """A context call, as it was found in the source or recorded in a run."""

    @property
    def kind(self) -> str:
        """The method's name."""

    @property
    def name(self) -> str:
        """Its first argument."""

    @property
    def details(self) -> Mapping[str, Any]:
        """Its other arguments."""


WHOLE_WORKSPACE = frozenset({"sh", "mlflow", "container"})
"""Calls that may read any file of the workspace."""


def stage_key(
    stage: Stage,
    uses: Sequence[UseLike],
    project: Project,
    overrides: Mapping[str, Any],
    *,
    host_image: bool,
) -> KeyRecord:
    """The key of ``stage`` if it made the context calls ``uses`` now.

    Raises what the project raises: DataError, ConfigurationError, TrackingUnavailable.
    """
    command: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    parameters: dict[str, Any] = dict(stage.variant)
    champion: dict[str, Any] = {}
    for number, use in enumerate(uses):
        if use.kind == "dvc":
            given = {**overrides, **call_parameters(use)}
            found = project.dvc_inputs(use.name, given)
            command[f"dvc {use.name}"] = found.command
            inputs |= found.files
            parameters |= found.params
        elif use.kind == "gate":
            command[f"gate {number}"] = use.name
            # Entries of their own, so that `rondel why` can name the rule that changed.
            command |= {f"gate {number} {name}": value for name, value in use.details.items()}
            if use.name:
                champion[use.name] = project.champion(use.name)
        else:
            command[f"{use.kind} {number}"] = [use.name, dict(use.details)]
            parameters |= {name: value for name, value in overrides.items() if use.kind == "mlflow"}
    if stage.git:
        inputs["git commit"] = project.commit()
    if any(use.kind in WHOLE_WORKSPACE for use in uses):
        inputs |= project.workspace()
    return make_key(
        {
            "image": project.image() if uses else {},
            "host": project.host() if host_image and uses else {},
            "code": code_parts(stage.body, project.root),
            "command": command,
            "parameters": parameters,
            "inputs": inputs,
            "champion": champion,
        }
    )


def call_parameters(use: UseLike) -> Mapping[str, Any]:
    """The parameters that a call of ``ctx.dvc`` gave itself."""
    return use.details.get("params", use.details) if use.kind == "dvc" else {}


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a stage runs, and a few words why. ``key`` is what its memory was compared with."""

    run: bool
    reason: str
    key: KeyRecord | None = None


def decide(
    stage: Stage,
    memory: StageMemory | None,
    project: Project,
    overrides: Mapping[str, Any],
    *,
    use_cache: bool = True,
) -> Decision:
    """Whether ``stage`` has to run. An effect always runs; a pure stage unless its last success holds."""
    if not stage.pure:
        return Decision(run=True, reason="an effect always runs")
    if not use_cache:
        return Decision(run=True, reason="--no-cache")
    if memory is None:
        return Decision(run=True, reason="no earlier result of it is kept here")
    key = stage_key(stage, memory.uses, project, overrides, host_image=stands_on_host(memory.image_source))
    if key.digest != memory.key.digest:
        return Decision(run=True, reason=describe(compare(memory.key, key)), key=key)
    missing = missing_outputs(memory, project, overrides)
    if missing:
        return Decision(run=True, reason=missing, key=key)
    return Decision(run=False, reason=f"unchanged since run {memory.run}", key=key)


def stands_on_host(image_source: str | None) -> bool:
    """Whether the image was, or for all we know may have been, made on this machine's own system."""
    return image_source is None or image_source in {"host", "in-place"}


def missing_outputs(memory: StageMemory, project: Project, overrides: Mapping[str, Any]) -> str:
    """What is no longer in place of a stage's results; an empty text if all is."""
    for use in memory.uses:
        if use.kind == "dvc" and not project.dvc_in_place(use.name, {**overrides, **call_parameters(use)}):
            return f"the outputs of {use.name} are not in place"
    for path, known in memory.outputs.items():
        now = project.file_hash(path)
        if now != known:
            return f"output {path} {'was changed' if now else 'is gone'}"
    return ""
