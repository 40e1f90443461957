"""How a job runs its stages, and why: a decision from a probe of the machine, without I/O."""

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
    "embedded": "nothing to operate; its store lasts as long as its folder",
    "in place": "stages run one at a time in the job's own container and image, without isolation",
    "none": "",
}
"""The costs of each mode; docs/howto/gitlab.md has the whole table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionMode:
    """How a job runs its stages. ``trouble`` says why they can't run; ``hint`` says what to do."""

    name: Name
    why: tuple[str, ...] = ()
    trouble: str = ""
    hint: str = ""

    @property
    def costs(self) -> str:
        """The costs of this mode."""
        return COSTS[self.name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What the machine offers.

    ``choice`` is the engine that a run would use, or the error if there is none.
    ``cli`` is a Dagger CLI, ``reach`` is how it finds an engine, and ``silent``
    says that no engine answers there. ``named`` is the engine in the environment,
    ``asked`` the place that sets the option ``engine``. ``namespaces`` is how the
    embedded engine makes containers; if it can't, ``forbidden`` says why.
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
    """The mode, and the reasons for it."""
    choice = probe.choice
    if isinstance(choice, Exception):
        return ExecutionMode(name="none", trouble=choice.what, why=_lines(choice.why), hint=choice.hint or "")
    if choice.kind == "session":
        return ExecutionMode(
            name="dagger", why=("this command runs in its session: DAGGER_SESSION_PORT is set",)
        )
    if choice.kind == "dagger":
        return _dagger(probe)
    return _own(probe)


def _dagger(probe: Probe) -> ExecutionMode:
    why = [str(probe.reach) if probe.reach else f"set by {probe.asked}", f"its CLI is {probe.cli}"]
    if probe.reach is None:
        hint = f"set {RUNNER_HOST}, or give this job access to a container runtime"
        return ExecutionMode(name="dagger", why=tuple(why), trouble="the CLI finds no engine", hint=hint)
    if probe.silent:
        return ExecutionMode(
            name="dagger",
            why=tuple(why),
            trouble=probe.silent,
            hint=f"start that engine, or unset {RUNNER_HOST}; the CLI keeps trying for ten minutes",
        )
    return ExecutionMode(name="dagger", why=tuple(why))


def _own(probe: Probe) -> ExecutionMode:
    why, hint = [_no_dagger(probe)], ""
    if probe.named and probe.cli is None:
        hint = f"{RUNNER_HOST} has no effect without a Dagger CLI: install one into the job's image"
    if probe.namespaces:
        return ExecutionMode(
            name="embedded", why=(*why, f"it can create containers: {probe.namespaces}"), hint=hint
        )
    why.append(f"it can't create containers: {probe.forbidden or 'the machine could not be examined'}")
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
        return f"set by {probe.asked}"
    if probe.cli is None:
        return NO_CLI
    return f"{probe.cli} finds no engine: {RUNNER_HOST} is not set, and no container runtime answers"


def _lines(text: str | None) -> tuple[str, ...]:
    return tuple((text or "").splitlines())
