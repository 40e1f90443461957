"""``ctx.sh``: a shell command in the workspace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from rondel.operations.operation import Call, Operation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rondel.operations.project import Project
    from rondel.operations.runtime import StageRuntime


@dataclass(frozen=True, kw_only=True)
class ShellCommand(Operation[str]):
    """A shell command, and the files that it makes for the working tree."""

    kind = "sh"
    reads_workspace = True
    changes_container = True

    command: str
    made: tuple[str, ...] = ()

    @classmethod
    def call(cls, command: str, *, outputs: Iterable[str] = ()) -> Self:
        """Run a shell command in the workspace and return its standard output.

        ``outputs`` are files that it makes for the working tree (a folder ends
        in ``/``); they are copied there after the stage succeeded. As with DVC,
        the command does not find their earlier versions. Of what the pipeline's
        stages make, it sees only the results of stages that its own stage needs.
        If the command fails, the stage fails.
        """
        return cls(command=command, made=tuple(outputs))

    @classmethod
    def from_call(cls, call: Call) -> Self:
        """The command of a call, with its outputs if they are literals in the source."""
        made = call.details.get("outputs") or ()
        return cls(command=call.name, made=tuple(made))

    @property
    def name(self) -> str:
        """The command."""
        return self.command

    @property
    def details(self) -> Mapping[str, Any]:
        """Its outputs, if it has any."""
        return {"outputs": list(self.made)} if self.made else {}

    def outputs(self, project: Project) -> Sequence[str]:
        """The files that it makes for the working tree."""
        return tuple(path.rstrip("/") for path in self.made)

    async def run(self, runtime: StageRuntime) -> str:
        """Run the command. Raises StageFailed."""
        from rondel.operations.commands import run_command

        words = ["sh", "-c", self.command]
        return await run_command(runtime, words, shown=words, outputs=self.made)
