"""What the runner expects of the context: how a stage's context is made and settled.

``rondel.context`` provides :func:`open_ground`, an async context manager that
lasts for one run and is entered when the first stage has to run:

    async with open_ground(run=…, settings=…, client=dagger.dag, tracking=…) as ground:
        ctx = await ground.context(stage, params=…, recorder=…, mlflow_run=…)
        await stage.body(ctx)
        await ground.settle(ctx)          # only after success: push, bring back, merge dvc.lock

The ground holds what the stages of a run share: the workspace upload, the
image, the DVC cache volume and the local remote's server. ``rondel.testing``
has one that only records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from rondel.pipeline import Stage
    from rondel.record import MlflowRun, Observer, Run, StageRecorder
    from rondel.settings import Settings


class Ground(Protocol):
    """What the stages of one run share; made by ``rondel.context.open_ground``."""

    async def context(
        self,
        stage: Stage,
        *,
        params: Mapping[str, Any],
        recorder: StageRecorder,
        mlflow_run: MlflowRun | None,
    ) -> Any:
        """The context of one attempt at a stage. ``params``: matrix values and ``-P`` overrides
        (dotted keys of params.yaml for dvc stages, plain names for MLflow entry points).
        """

    async def settle(self, ctx: Any) -> None:
        """After the stage succeeded: push, bring files back, merge ``dvc.lock``. Raises DataError."""

    async def abandon(self, ctx: Any) -> None:
        """After it failed or was cancelled: bring back reports only. Does not raise."""


class GroundFactory(Protocol):
    """The signature of ``rondel.context.open_ground``."""

    def __call__(
        self, *, run: Run, settings: Settings, client: Any, tracking: Any, observer: Observer
    ) -> AbstractAsyncContextManager[Ground]:
        """Open the ground of one run."""
