"""What the runner expects of the layers below it, so that tests can put fakes in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from rondel.pipeline import Stage
    from rondel.record import Engine, MlflowRun, Run, StageRecord, StageRecorder
    from rondel.settings import Settings


class Contexts(Protocol):
    """Makes the contexts of a run's stages; the real one is ``rondel.context.contexts.StageContexts``."""

    async def context(
        self,
        stage: Stage,
        *,
        given: Mapping[str, Any],
        recorder: StageRecorder,
        mlflow_run: MlflowRun | None,
    ) -> Any:
        """Make the context of one attempt at a stage.

        ``given`` are its ``-P`` values: dotted keys for dvc stages, plain names for entry points.
        """

    async def commit(self, context: Any) -> None:
        """After the stage succeeded: bring files back, merge ``dvc.lock``. Raises DataError."""

    async def discard(self, context: Any) -> None:
        """After it failed or was cancelled: forget what it made. Does not raise."""

    async def refresh(self) -> None:
        """Before another attempt that somebody asked for: read the workspace again."""


class Services(Protocol):
    """Engine, tracking and contexts of one run, open while stages run."""

    @property
    def contexts(self) -> Contexts:
        """Where contexts come from."""

    @property
    def engine(self) -> Engine:
        """What executes the run, for the record."""

    async def begin(self, record: StageRecord) -> MlflowRun | None:
        """A stage begins: its nested MLflow run."""

    async def end(self, record: StageRecord) -> None:
        """A stage ended as ``record`` says: end its nested run. Raises TrackingUnavailable."""


class OpenServices(Protocol):
    """Opens the services of a run; the real one is made by ``rondel.runner.services.services_on``."""

    def __call__(self, run: Run, settings: Settings, journal: Any) -> AbstractAsyncContextManager[Services]:
        """Start or reach what the run needs; everything that was started ends with it."""
