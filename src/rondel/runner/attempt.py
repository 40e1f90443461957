"""One stage's attempts: context, body, time limit, retries, and what its errors mean."""

from __future__ import annotations

import shlex
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from rondel.errors import (
    ConfigurationError,
    DataError,
    EngineUnavailable,
    GateFailed,
    RondelError,
    StageFailed,
    TrackingUnavailable,
)
from rondel.record.folder import short_path
from rondel.runner.hints import hint_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from rondel.pipeline import Stage
    from rondel.record import RunFolder, StageRecorder
    from rondel.runner.interfaces import Services

    OnFailure = Callable[[Exception, Any], Awaitable[bool]]

FIRST_PAUSE = 1.0
"""Seconds before the second attempt; each further one waits twice as long, up to a minute."""

CLEAN_UP = 10.0
"""Seconds that clean-up after a cancelled or failed attempt may take."""

SIGNAL_SECONDS = 2.0
"""Seconds within which a signal follows that the engine's end is part of."""

LOG_BYTES = 1 << 16
"""How much of a failed stage's log is looked at for what it failed of."""

FINAL = (ConfigurationError, GateFailed, DataError, TrackingUnavailable, EngineUnavailable)
"""Errors that another attempt would not cure."""


class _Again(Exception):
    """The stage failed, and somebody asked for another attempt."""


async def attempt_stage(
    services: Services,
    stage: Stage,
    recorder: StageRecorder,
    overrides: Mapping[str, Any],
    on_failure: OnFailure | None = None,
) -> None:
    """Run a stage until it succeeds or its attempts are used up; raises the last attempt's error.

    ``on_failure`` is awaited with the error and the context before the latter
    is given up; it says whether there is one more attempt.
    """
    tries = 1 + (stage.retries if stage.pure else 0)
    number = 0
    while True:
        number += 1
        # Findings of a failed attempt are not the stage's.
        recorder.change(attempts=number, uses=[], outputs={}, metrics={}, verdicts=[], exit_code=None)
        try:
            await _attempt(services, stage, recorder, overrides, on_failure)
        except _Again:
            tries = max(tries, number + 1)
        except FINAL:
            raise
        except Exception as error:
            if number >= tries or on_failure is not None:
                raise
            pause = min(FIRST_PAUSE * 2 ** (number - 1), 60.0)
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            recorder.step(f"attempt {number} of {tries} failed ({said}); again in {pause:g} s")
            await anyio.sleep(pause)
        else:
            return


async def _attempt(
    services: Services,
    stage: Stage,
    recorder: StageRecorder,
    overrides: Mapping[str, Any],
    on_failure: OnFailure | None = None,
) -> None:
    mlflow_run = await services.begin(recorder.record)
    if mlflow_run is not None:
        recorder.mlflow_run(mlflow_run)
    ctx: Any = None
    limit: anyio.CancelScope | None = None
    outcome = "failed"
    try:
        with anyio.fail_after(stage.timeout) as limit:
            async with _not_by_a_signal():
                ctx = await services.contexts.context(
                    stage, given=overrides, recorder=recorder, mlflow_run=mlflow_run
                )
                await stage.body(ctx)
        # Outside of the time limit: a result that is there is brought home.
        await services.contexts.commit(ctx)
        outcome = "ran"
    except Exception as error:
        failure = _told(error, stage, limit)
        if ctx is not None:
            await _look(ctx, failure, recorder)
        if on_failure is not None and await on_failure(failure, ctx):
            raise _Again from error
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
            await services.end(_ended(recorder, outcome))


@asynccontextmanager
async def _not_by_a_signal() -> AsyncIterator[None]:
    """Let an engine that goes away be told as that only if no signal follows.

    At ^C the Dagger CLI first breaks its session off, and then passes the signal on.
    """
    try:
        yield
    except Exception as error:
        if _engine_is_gone(error):
            await anyio.sleep(SIGNAL_SECONDS)
        raise


def _told(error: Exception, stage: Stage, limit: anyio.CancelScope | None) -> Exception:
    """The error, or the one that names the stage's time limit: its own code may run into others."""
    if isinstance(error, TimeoutError) and limit is not None and limit.cancelled_caught:
        return StageFailed(f"stage {stage.name!r} took longer than its {stage.timeout:g} s")
    return error


async def _look(ctx: Any, error: Exception, recorder: StageRecorder) -> None:
    """Let the context open its shell; what fails with that is told, and does not hide the stage's error."""
    try:
        await ctx.failed(error)
    except Exception as problem:  # noqa: BLE001 - the stage's own error is raised by the caller
        said = str(problem).strip() or type(problem).__name__
        recorder.output(f"no shell where it failed: {said}")


def _ended(recorder: StageRecorder, state: str) -> Any:
    from dataclasses import replace

    return replace(recorder.record, state=state)  # type: ignore[arg-type]


def stage_error(error: Exception, stage: Stage, recorder: StageRecorder, folder: RunFolder) -> RondelError:
    """What a stage's exception means: the command, its last lines, the log, and what to do next."""
    if isinstance(error, RondelError) and not isinstance(error, StageFailed):
        error.what = recorder.redact(error.what)
        error.why = recorder.redact(error.why) if error.why else None
        error.place = error.place or f"stage {stage.name!r}"
        return error
    if _engine_is_gone(error):
        gone = EngineUnavailable(
            f"stage {stage.name!r}: the engine went away while it ran",
            why=f"{recorder.redact(str(error).strip())}\nlog: {short_path(folder.log(stage.name))}",
            hint="run again: what was finished is kept; a machine out of memory looks like this, too",
        )
        gone.__cause__ = error
        return gone
    lines: list[str] = []
    if isinstance(error, StageFailed):
        what = error.what if stage.name in error.what else f"stage {stage.name!r}: {error.what}"
        lines += (error.why or "").splitlines()
    elif type(error).__name__ == "ExecError" and hasattr(error, "exit_code"):
        what, lines = _exec_error(error, stage, recorder)
    else:
        what = f"stage {stage.name!r} raised {type(error).__name__}: {error}"
        lines += _where(error, stage)
        if lines:
            recorder.output("\n".join(lines))
    lines.append(f"log: {short_path(folder.log(stage.name))}")
    lines.append(f"capsule: {short_path(folder.capsule)}")
    why = recorder.redact("\n".join(lines))
    hint = getattr(error, "hint", None) or hint_for(stage, _last_said(folder.log(stage.name), why))
    translated = StageFailed(recorder.redact(what), why=why, hint=hint)
    translated.__cause__ = error
    return translated


def _last_said(log: Path, otherwise: str) -> str:
    """The end of the stage's log: what a command said first may be far above its last lines."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return otherwise


def _engine_is_gone(error: Exception) -> bool:
    """Whether it is the engine that failed, and not the stage.

    A request that was under way breaks off; one that comes later (the client repeats
    the former, too) is answered by the launcher in the engine's place.
    """
    if not type(error).__module__.startswith("dagger"):
        return False
    if type(error).__name__ == "TransportError":
        return True
    first = getattr(error, "error", None)
    return (getattr(first, "extensions", None) or {}).get("_type") == "ENGINE_UNAVAILABLE"


def _exec_error(error: Any, stage: Stage, recorder: StageRecorder) -> tuple[str, list[str]]:
    command = shlex.join(str(word) for word in error.command)
    output = "\n".join(part for part in (error.stdout, error.stderr) if part)
    said = recorder.redact(output).splitlines()
    if said and not recorder.tail:
        recorder.output("\n".join(said))
    recorder.command([str(word) for word in error.command], exit_code=error.exit_code)
    what = f"stage {stage.name!r}: a command ended with exit code {error.exit_code}"
    tail = said or list(recorder.tail)
    return what, [f"command: {recorder.redact(command)}", *(f"│ {line}" for line in tail[-20:])]


def _where(error: Exception, stage: Stage) -> list[str]:
    """The lines of the team's own code that the exception came through."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == stage.place.file]
    return [f"at {short_path(Path(frame.filename))}:{frame.lineno}: {frame.line}" for frame in own]
