"""The context of a stage, with the methods that its function calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from rondel.context.registry import OPERATIONS, effect_in_pure_stage, method
from rondel.operations.container.operation import UseContainer
from rondel.operations.dvc.operation import DvcStageRun
from rondel.operations.gate.operation import Gate
from rondel.operations.mlflow.operation import EntryPointRun
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
    """The argument of a stage's function.

    ``run`` is the current run, ``params`` are the stage's matrix values and
    ``-P`` overrides, ``settings`` the options. After the function returns, the
    stage's files are copied to the working tree.
    """

    dvc = method(DvcStageRun.call)
    mlflow = method(EntryPointRun.call)
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
        """The stage's container after the operations so far, for the plain Dagger API.

        It is the image with the workspace at ``/work``, the DVC cache, the
        MLflow environment, secrets, proxies and certificates.
        """
        self._record(UseContainer.call())
        return self.runtime.container

    async def perform(self, operation: Operation[R]) -> R:
        """Record an operation and execute it, as its own method does.

        Raises ConfigurationError for an effect in a pure stage, and what the operation raises.
        """
        self._record(operation)
        self.runtime.container_changed |= operation.changes_container
        return await operation.run(self.runtime)

    async def shell(self) -> bool:
        """Open a shell in the container after the failed command; False if there is none."""
        return await self.runtime.open_shell_after_failure()

    async def failed(self, error: BaseException) -> None:
        """After a command of the plain Dagger API failed: open a shell there if ``--shell`` asks for one."""
        await self.runtime.failed(error)

    def _record(self, operation: Operation[Any]) -> None:
        if operation.effect and self.stage.pure:  # a call that is not visible in the source
            raise effect_in_pure_stage(self.stage, operation.kind, str(self.stage.place))
        self.recorder.use(operation.kind, operation.name, operation.details)


OPERATIONS[UseContainer.kind] = UseContainer
OTHER_METHODS = frozenset({"perform", "shell", "failed"})
"""The methods that a stage's function may call and that are not operations."""


def add_operation(kind: type[Operation[Any]]) -> None:
    """Register an operation that is not built in: adds its method to every stage's context."""
    added = method(kind.call)
    setattr(StageContext, kind.kind, added)
    added.__set_name__(StageContext, kind.kind)
