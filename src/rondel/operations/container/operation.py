"""``ctx.container``: the stage's container for the plain Dagger API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rondel.operations.operation import Call, Operation

if TYPE_CHECKING:
    import dagger

    from rondel.operations.runtime import StageRuntime


@dataclass(frozen=True, kw_only=True)
class UseContainer(Operation["dagger.Container"]):
    """The stage's container for the plain Dagger API, with which the function can do anything."""

    kind = "container"
    reads_workspace = True

    @classmethod
    def call(cls) -> Self:
        """The operation; see ``StageContext.container``."""
        return cls()

    @classmethod
    def from_call(cls, call: Call) -> Self:  # noqa: ARG003 - there are no arguments
        """The operation."""
        return cls()

    @property
    def name(self) -> str:
        """Empty: the call has no arguments."""
        return ""

    async def run(self, runtime: StageRuntime) -> dagger.Container:
        """The container."""
        return runtime.container
