"""A stage: one step of a pipeline, as its declaration says it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

StageBody = Callable[..., Awaitable[None]]
"""An async function that takes the stage's ``rondel.StageContext``."""


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """A line in a source file."""

    file: str
    line: int

    def __str__(self) -> str:
        """``ci/main.py:12``, relative to the working directory where that is shorter."""
        try:
            shown = str(Path(self.file).relative_to(Path.cwd()))
        except (ValueError, OSError):
            shown = self.file
        return f"{shown}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCall:
    """A call of a context method as the source of a stage's function has it.

    ``kind`` is the method's name. ``name`` is the first argument where that is
    a text, ``args`` are all positional arguments and ``details`` the named
    ones, as far as the source has them as literals; ``literal`` is False where
    it has not all of them.
    """

    kind: str
    name: str = ""
    args: tuple[Any, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    place: SourceLocation | None = None
    literal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a pipeline.

    A *pure* stage depends on nothing but its inputs and may be skipped when
    they have not changed. An *effect* stage acts on the outside world: it is
    never skipped and never repeated. ``timeout`` is in seconds. ``variant``
    holds this stage's own point of a matrix; ``base`` is then the name that
    the declaration gave, and equal to ``name`` otherwise. ``approval`` names
    what somebody has to approve first; ``on="schedule"`` keeps the stage out
    of runs that do not name it. ``git`` puts the repository into the stage's
    workspace, and the commit into its key.
    """

    name: str
    body: StageBody
    place: SourceLocation
    kind: Literal["pure", "effect"] = "pure"
    needs: tuple[str, ...] = ()
    timeout: float | None = None
    retries: int = 0
    matrix: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    variant: Mapping[str, Any] = field(default_factory=dict)
    base: str = ""
    calls: tuple[StageCall, ...] = ()
    doc: str = ""
    approval: str | None = None
    on: Literal["schedule"] | None = None
    git: bool = False

    @property
    def pure(self) -> bool:
        """Whether the stage depends on nothing but its inputs."""
        return self.kind == "pure"

    def with_needs(self, needs: tuple[str, ...]) -> Stage:
        """The same stage with other needs."""
        return replace(self, needs=needs)

    def with_variant(self, name: str, variant: Mapping[str, Any], needs: tuple[str, ...]) -> Stage:
        """One point of this stage's matrix."""
        return replace(self, name=name, base=self.name, variant=dict(variant), matrix={}, needs=needs)
