"""Makes the contexts of a run's stages, one for each attempt, and commits their results."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rondel.context.commit import commit_results
from rondel.context.stage import StageContext
from rondel.environment.run_environment import RunEnvironment, open_environment
from rondel.operations.runtime import StageRuntime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from rondel.data.visibility import Visibility
    from rondel.pipeline import Stage
    from rondel.record import MlflowRun, Run, StageRecorder
    from rondel.settings import Settings
    from rondel.tracking import TrackingConnection


@asynccontextmanager
async def open_contexts(
    *, run: Run, settings: Settings, client: Any, tracking: TrackingConnection | None, observer: Any
) -> AsyncIterator[StageContexts]:
    """The contexts of one run, in an environment that ends with the block.

    Raises ConfigurationError for an undefined remote, and DataError if a local
    one can't be served.
    """
    async with open_environment(
        run=run, settings=settings, client=client, tracking=tracking, observer=observer
    ) as environment:
        yield StageContexts(environment)


class StageContexts:
    """Makes the contexts of a run's stages, and commits their results."""

    def __init__(self, environment: RunEnvironment) -> None:
        import anyio

        self.environment = environment
        self._committing = anyio.Lock()

    async def context(
        self,
        stage: Stage,
        *,
        given: Mapping[str, Any],
        recorder: StageRecorder,
        mlflow_run: MlflowRun | None,
        visibility: Visibility | None,
    ) -> StageContext:
        """The context of one attempt at ``stage``; ``given`` are its ``-P`` values.

        ``visibility`` limits which results of other stages it sees; with None it sees them all.

        Raises StageFailed if the image can't be built, ConfigurationError for an unset secret.
        """
        container = await self.environment.container_for(
            stage, recorder=recorder, mlflow_run=mlflow_run, visibility=visibility
        )
        return StageContext(
            StageRuntime(
                self.environment,
                stage,
                given=given,
                recorder=recorder,
                container=container,
                visibility=visibility,
            )
        )

    async def commit(self, context: StageContext) -> None:
        """After success: commit the stage's results. Raises DataError; see :func:`commit_results`."""
        from anyio import to_thread

        async with self._committing:
            await to_thread.run_sync(commit_results, context.runtime)

    async def discard(self, context: StageContext) -> None:
        """After failure: drop the results; their files stay in the run's folder."""
        context.runtime.pending.clear()

    async def refresh(self) -> None:
        """Read the workspace again for later attempts and stages, because the user edited it."""
        await self.environment.refresh()
