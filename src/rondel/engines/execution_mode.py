"""Which of the ways to run containers a job got, and why: decided from what was found, without looking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rondel.engines.choice import NO_CLI
from rondel.engines.discovery import RUNNER_HOST

if TYPE_CHECKING:
    from pathlib import Path

    from rondel.engines.choice import EngineChoice
    from rondel.engines.discovery import EngineEndpoint
    from rondel.errors import RondelError

Name = Literal["dagger", "embedded", "in place", "none"]

COSTS: dict[Name, str] = {
    "dagger": "an engine to operate; its cache serves every job that reaches it",
    "embedded": "nothing to operate; its store is as lasting as the folder that it lies in",
    "in place": "stages run one at a time, in the job's own container and image, with nothing between them",
    "none": "",
}
"""What each way asks for in return; docs/howto/gitlab.md has the whole table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionMode:
    """How a job's stages run. ``trouble`` is set if they will not, or hardly; ``hint`` says what to do."""

    name: Name
    why: tuple[str, ...] = ()
    trouble: str = ""
    hint: str = ""

    @property
    def costs(self) -> str:
        """What it asks for in return."""
        return COSTS[self.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was found on the machine.

    ``choice`` is the engine that a run would take, or why there is none.
    ``cli`` and ``reach`` are a real CLI and what leads it to an engine;
    ``silent`` tells that nothing answers there. ``namespaces`` is how containers
    of one's own come about, or empty, for the reason in ``forbidden``.
    """

    choice: EngineChoice | RondelError
    cli: Path | None = None
    reach: EngineEndpoint | None = None
    silent: str = ""
    named: str = ""
    asked: str = ""
    namespaces: str = ""
    forbidden: str = ""
    in_place: bool = True


def execution_mode(probe: Probe) -> ExecutionMode:
    """The way, and each reason for it."""
    choice = probe.choice
    if isinstance(choice, Exception):
        return ExecutionMode(name="none", trouble=choice.what, why=_lines(choice.why), hint=choice.hint or "")
    if choice.kind == "session":
        return ExecutionMode(
            name="dagger", why=("this command runs in a session of it: DAGGER_SESSION_PORT is set",)
        )
    if choice.kind == "dagger":
        return _dagger(probe)
    return _own(probe)


def _dagger(probe: Probe) -> ExecutionMode:
    why = [str(probe.reach) if probe.reach else f"asked for by {probe.asked}", f"its CLI is {probe.cli}"]
    if probe.reach is None:
        hint = f"name one with {RUNNER_HOST}, or let this job use a container runtime"
        return ExecutionMode(name="dagger", why=tuple(why), trouble="nothing leads to an engine", hint=hint)
    if probe.silent:
        return ExecutionMode(
            name="dagger",
            why=tuple(why),
            trouble=probe.silent,
            hint=f"start that engine, or unset {RUNNER_HOST}; the CLI goes on trying for ten minutes",
        )
    return ExecutionMode(name="dagger", why=tuple(why))


def _own(probe: Probe) -> ExecutionMode:
    why, hint = [_no_dagger(probe)], ""
    if probe.named and probe.cli is None:
        hint = f"{RUNNER_HOST} is of no use without a Dagger CLI: install one into the job's image"
    if probe.namespaces:
        return ExecutionMode(
            name="embedded", why=(*why, f"containers of its own work: {probe.namespaces}"), hint=hint
        )
    why.append(f"containers of its own do not: {probe.forbidden or 'the machine could not be examined'}")
    if probe.in_place:
        return ExecutionMode(name="in place", why=tuple(why), hint=hint)
    why.append("RONDEL_ENGINE_IN_PLACE=never forbids the job's own container")
    return ExecutionMode(
        name="none",
        why=tuple(why),
        trouble="no engine can run here",
        hint=hint or "allow user namespaces on this runner, or give it a Dagger engine",
    )


def _no_dagger(probe: Probe) -> str:
    if probe.asked:
        return f"asked for by {probe.asked}"
    if probe.cli is None:
        return NO_CLI
    return f"{probe.cli} would find no engine: none is named, no container runtime answers"


def _lines(text: str | None) -> tuple[str, ...]:
    return tuple((text or "").splitlines())
