"""A stage: one step of a pipeline, as declared."""

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
        """``ci/main.py:12``, relative to the working directory if the file is in it."""
        try:
            shown = str(Path(self.file).relative_to(Path.cwd()))
        except (ValueError, OSError):
            shown = self.file
        return f"{shown}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCall:
    """A call of a context method in the source of a stage's function.

    ``kind`` is the method's name. ``name`` is the first argument if it is a string.
    ``args`` are the positional and ``details`` the named arguments that are literals;
    ``literal`` is False if some are not.
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

    The result of a *pure* stage depends only on its inputs, so it can be reused while
    they don't change. An *effect* stage acts on the outside world: it is never cached
    and never retried. ``timeout`` is in seconds. ``variant`` has the values of this
    combination of a matrix; ``base`` is then the declared name, and equal to ``name``
    otherwise. ``approval`` names what has to be approved first; ``on="schedule"`` keeps
    the stage out of runs that don't name it. ``git`` puts the repository into the
    stage's workspace, and the commit into its key.
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
        """Whether the stage's result depends only on its inputs."""
        return self.kind == "pure"

    def with_needs(self, needs: tuple[str, ...]) -> Stage:
        """The same stage with other needs."""
        return replace(self, needs=needs)

    def with_variant(self, name: str, variant: Mapping[str, Any], needs: tuple[str, ...]) -> Stage:
        """One combination of this stage's matrix."""
        return replace(self, name=name, base=self.name, variant=dict(variant), matrix={}, needs=needs)
