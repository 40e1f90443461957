"""What the runner expects of the layers below it; ``rondel.testing`` implements the same with fakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from rondel.data.visibility import Visibility
    from rondel.pipeline import Stage
    from rondel.record import Engine, MlflowRun, Run, StageRecord, StageRecorder
    from rondel.settings import Settings


class Contexts(Protocol):
    """Makes the contexts of a run's stages; implemented by ``rondel.context.contexts.StageContexts``."""

    async def context(
        self,
        stage: Stage,
        *,
        given: Mapping[str, Any],
        recorder: StageRecorder,
        mlflow_run: MlflowRun | None,
        visibility: Visibility | None,
    ) -> Any:
        """Make the context of one attempt at a stage.

        ``given`` are its ``-P`` values: dotted keys for dvc stages, plain names for entry points.
        ``visibility`` limits which results of other stages it sees; with None it sees them all.
        """

    async def commit(self, context: Any) -> None:
        """After the stage succeeded: copy results to the working tree and merge locks. Raises DataError."""

    async def discard(self, context: Any) -> None:
        """After it failed or was cancelled: discard its outputs. Does not raise."""

    async def refresh(self) -> None:
        """Before another attempt that the user asked for: read the workspace again."""


class Services(Protocol):
    """Engine, tracking and contexts of one run, open while stages run."""

    @property
    def contexts(self) -> Contexts:
        """Makes the contexts of stages."""

    @property
    def engine(self) -> Engine:
        """The engine that executes the run, for the record."""

    async def begin(self, record: StageRecord) -> MlflowRun | None:
        """Begin a stage's nested MLflow run."""

    async def end(self, record: StageRecord) -> None:
        """End a stage's nested MLflow run with the results in ``record``. Raises TrackingUnavailable."""


class OpenServices(Protocol):
    """Opens the services of a run; ``rondel.runner.services.services_on`` makes the real one."""

    def __call__(self, run: Run, settings: Settings, journal: Any) -> AbstractAsyncContextManager[Services]:
        """Start or connect to what the run needs, and stop on exit what was started."""
