"""What the runner expects of the layers below it: how a stage's context is made and settled.

``rondel.context`` provides ``open_environment``, an async context manager that
lasts for one run and is entered when the first stage has to run:

    async with open_environment(run=…, settings=…, client=dagger.dag, tracking=…, observer=…) as environment:
        ctx = await environment.context(stage, params=…, recorder=…, mlflow_run=…)
        await stage.body(ctx)
        await environment.commit(ctx)          # only after success: push, bring back, merge dvc.lock

The environment holds what the stages of a run share: the workspace upload, the
image, the DVC cache volume and the local remote's server. ``rondel.testing``
has one that only records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from rondel.pipeline import Stage
    from rondel.record import Engine, MlflowRun, Observer, Run, StageRecord, StageRecorder
    from rondel.settings import Settings


class Environment(Protocol):
    """What the stages of one run share; made by ``rondel.context.open_environment``."""

    async def context(
        self,
        stage: Stage,
        *,
        params: Mapping[str, Any],
        recorder: StageRecorder,
        mlflow_run: MlflowRun | None,
    ) -> Any:
        """Make the context of one attempt at a stage.

        ``params`` holds the matrix's values and the ``-P`` overrides: dotted
        keys for dvc stages, plain names for entry points.
        """

    async def commit(self, ctx: Any) -> None:
        """After the stage succeeded: push, bring files back, merge ``dvc.lock``. Raises DataError."""

    async def discard(self, ctx: Any) -> None:
        """After it failed or was cancelled: bring back reports only. Does not raise."""

    async def refresh(self) -> None:
        """Before another attempt that somebody asked for: read the workspace again."""


class OpenEnvironment(Protocol):
    """The signature of ``rondel.context.open_environment``."""

    def __call__(
        self, *, run: Run, settings: Settings, client: Any, tracking: Any, observer: Observer
    ) -> AbstractAsyncContextManager[Environment]:
        """Open the environment of one run."""


class Services(Protocol):
    """Engine, tracking and environment of one run, open while stages run."""

    @property
    def environment(self) -> Environment:
        """Where contexts come from."""

    @property
    def engine(self) -> Engine:
        """What executes the run, for the record."""

    async def begin(self, record: StageRecord) -> MlflowRun | None:
        """A stage begins: its nested MLflow run."""

    async def end(self, record: StageRecord) -> None:
        """A stage ended as ``record`` says: end its nested run. Raises TrackingUnavailable."""


class OpenServices(Protocol):
    """Opens the services of a run; the real one is ``rondel.runner.services.open_services``."""

    def __call__(self, run: Run, settings: Settings, journal: Any) -> AbstractAsyncContextManager[Services]:
        """Start or reach what the run needs; everything that was started ends with it."""
