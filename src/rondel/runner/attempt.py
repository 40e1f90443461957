"""Runs one stage: its context, time limit, retries and clean-up."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from rondel.errors import (
    ConfigurationError,
    DataError,
    EngineUnavailable,
    GateFailed,
    StageFailed,
    TrackingUnavailable,
)
from rondel.runner.stage_errors import engine_is_gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from rondel.data.visibility import Visibility
    from rondel.pipeline import Stage
    from rondel.record import StageRecorder
    from rondel.record.capsule import StageState
    from rondel.runner.interfaces import Services

    OnFailure = Callable[[Exception, Any], Awaitable[bool]]

FIRST_PAUSE = 1.0
"""Seconds before the second attempt; each later pause is twice as long, up to a minute."""

CLEAN_UP = 10.0
"""Seconds that clean-up after a cancelled or failed attempt may take."""

SIGNAL_SECONDS = 2.0
"""Seconds to wait for a signal after the engine went away; see ``_wait_for_signal``."""

FINAL = (ConfigurationError, GateFailed, DataError, TrackingUnavailable, EngineUnavailable)
"""Errors that another attempt can't fix."""


class _RetryRequested(Exception):
    """The stage failed, and the user asked for another attempt."""


async def attempt_stage(
    services: Services,
    stage: Stage,
    recorder: StageRecorder,
    overrides: Mapping[str, Any],
    *,
    visibility: Callable[[], Visibility | None],
    on_failure: OnFailure | None = None,
) -> None:
    """Run a stage until it succeeds or its attempts are used up; raises the last attempt's error.

    ``visibility`` says, for each attempt, which results of other stages it sees.
    ``on_failure`` is awaited with the error and the context, while the context
    is still usable. It returns whether to try once more.
    """
    tries = 1 + (stage.retries if stage.pure else 0)
    number = 0
    while True:
        number += 1
        # Discard what a failed attempt recorded.
        recorder.change(attempts=number, uses=[], outputs={}, metrics={}, verdicts=[], exit_code=None)
        try:
            await _attempt(
                services, stage, recorder, overrides, visibility=visibility(), on_failure=on_failure
            )
        except _RetryRequested:
            tries = max(tries, number + 1)
        except FINAL:
            raise
        except Exception as error:
            if number >= tries or on_failure is not None:
                raise
            pause = min(FIRST_PAUSE * 2 ** (number - 1), 60.0)
            summary = (str(error).strip() or type(error).__name__).splitlines()[0]
            recorder.step(f"attempt {number} of {tries} failed ({summary}); retrying in {pause:g} s")
            await anyio.sleep(pause)
        else:
            return


async def _attempt(
    services: Services,
    stage: Stage,
    recorder: StageRecorder,
    overrides: Mapping[str, Any],
    *,
    visibility: Visibility | None,
    on_failure: OnFailure | None = None,
) -> None:
    mlflow_run = await services.begin(recorder.record)
    if mlflow_run is not None:
        recorder.mlflow_run(mlflow_run)
    ctx: Any = None
    limit: anyio.CancelScope | None = None
    outcome: StageState = "failed"
    try:
        with anyio.fail_after(stage.timeout) as limit:
            async with _wait_for_signal():
                ctx = await services.contexts.context(
                    stage,
                    given=overrides,
                    recorder=recorder,
                    mlflow_run=mlflow_run,
                    visibility=visibility,
                )
                await stage.body(ctx)
        # Outside of the time limit: a finished result is always committed.
        await services.contexts.commit(ctx)
        outcome = "ran"
    except Exception as error:
        failure = error
        # The stage's own code may raise TimeoutError, too.
        if isinstance(error, TimeoutError) and limit is not None and limit.cancelled_caught:
            failure = StageFailed(f"stage {stage.name!r} exceeded its time limit of {stage.timeout:g} s")
        if ctx is not None:
            await _offer_shell(ctx, failure, recorder)
        if on_failure is not None and await on_failure(failure, ctx):
            raise _RetryRequested from error
        if failure is error:
            raise
        raise failure from error
    except anyio.get_cancelled_exc_class():
        outcome = "cancelled"
        raise
    finally:
        with anyio.move_on_after(CLEAN_UP, shield=True):
            if ctx is not None and outcome != "ran":
                await services.contexts.discard(ctx)
            await services.end(replace(recorder.record, state=outcome))


@asynccontextmanager
async def _wait_for_signal() -> AsyncIterator[None]:
    """If the engine goes away, wait for a signal before reporting that.

    At ^C the Dagger CLI first closes its session and only then passes the signal on. The signal
    cancels this scope, so that the stage counts as cancelled, not as failed.
    """
    try:
        yield
    except Exception as error:
        if engine_is_gone(error):
            await anyio.sleep(SIGNAL_SECONDS)
        raise


async def _offer_shell(ctx: Any, error: Exception, recorder: StageRecorder) -> None:
    """Let the context open a shell in the failed container; a problem with that is only logged."""
    try:
        await ctx.failed(error)
    except Exception as problem:  # noqa: BLE001 - the stage's own error is raised by the caller
        recorder.output(f"can't open a shell in the failed container: {problem or type(problem).__name__}")
