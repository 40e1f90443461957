"""The context of a stage: what the team's function gets, and calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from rondel.context.registry import OPERATIONS, effect_in_pure_stage, method
from rondel.operations.container.operation import UseContainer
from rondel.operations.dvc.operation import DvcStageRun
from rondel.operations.gate.operation import Gate
from rondel.operations.mlflow.operation import EntryPoint
from rondel.operations.promote.operation import Promote
from rondel.operations.register.operation import Register
from rondel.operations.shell.operation import ShellCommand

if TYPE_CHECKING:
    import dagger

    from rondel.operations.operation import Operation
    from rondel.operations.runtime import StageRuntime
    from rondel.pipeline import Stage
    from rondel.record import CallRecord, Run
    from rondel.settings import Settings

R = TypeVar("R")


class StageContext:
    """What a stage's function works with.

    ``run`` is the run that the stage is part of, ``params`` its matrix values
    and ``-P`` overrides, ``settings`` the options. Files that a stage made
    come back to the working tree when its function has returned.
    """

    dvc = method(DvcStageRun.call)
    mlflow = method(EntryPoint.call)
    sh = method(ShellCommand.call)
    gate = method(Gate.call)
    register = method(Register.call)
    promote = method(Promote.call)

    def __init__(self, runtime: StageRuntime) -> None:
        self.runtime = runtime
        self.recorder = runtime.recorder
        self.stage: Stage = runtime.stage
        self.params: dict[str, Any] = runtime.params
        self.run: Run = runtime.run
        self.settings: Settings = runtime.settings

    @property
    def calls(self) -> tuple[CallRecord, ...]:
        """The operations of this context so far."""
        return tuple(self.recorder.record.uses)

    def container(self) -> dagger.Container:
        """The stage's container as it is now, after what ``dvc`` and ``sh`` did in it.

        The image with the workspace at ``/work``, the DVC cache, the MLflow
        environment, secrets, proxies and certificates: the rest of the Dagger
        API starts here.
        """
        self._record(UseContainer.call())
        return self.runtime.container

    async def perform(self, operation: Operation[R]) -> R:
        """Record an operation and do it; what its own method does.

        Raises ConfigurationError for an effect in a pure stage, and what the operation raises.
        """
        self._record(operation)
        self.runtime.container_changed |= operation.changes_container
        return await operation.run(self.runtime)

    async def shell(self) -> bool:
        """Open a shell in what the failed command left behind; False if nothing is there."""
        return await self.runtime.show_left()

    async def failed(self, error: BaseException) -> None:
        """Open the shell that was asked for where a command of the plain Dagger API failed."""
        await self.runtime.failed(error)

    def _record(self, operation: Operation[Any]) -> None:
        if operation.effect and self.stage.pure:  # the source did not show it
            raise effect_in_pure_stage(self.stage, operation.kind, str(self.stage.place))
        self.recorder.use(operation.kind, operation.name, operation.details)


OPERATIONS[UseContainer.kind] = UseContainer
OTHER_METHODS = frozenset({"perform", "shell", "failed"})
"""What a stage's function may call besides: methods that are no operations."""


def add_operation(kind: type[Operation[Any]]) -> None:
    """Give every stage's context the method of an operation that is not one of Rondel's own."""
    added = method(kind.call)
    setattr(StageContext, kind.kind, added)
    added.__set_name__(StageContext, kind.kind)
