"""Translates what a stage raised into an error that says which command failed, why, and what to do."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.errors import EngineUnavailable, RondelError, StageFailed, command_and_output, last_line
from rondel.record.folder import short_path

if TYPE_CHECKING:
    from collections.abc import Collection

    from rondel.pipeline import Stage
    from rondel.record import RunFolder, StageRecorder

LOG_BYTES = 1 << 16
"""How much of the end of a failed stage's log is searched for known causes."""

_NO_REPOSITORY = re.compile(r"not a git repository|InvalidGitRepositoryError|NotGitRepository", re.IGNORECASE)
_NO_GIT = re.compile(r"\bgit: (?:command )?not found|No such file or directory: '(?:/usr/bin/)?git'")


def stage_error(
    error: Exception,
    stage: Stage,
    recorder: StageRecorder,
    folder: RunFolder,
    hidden: Collection[str] = (),
) -> RondelError:
    """The error to show for a stage's exception: the command, its last lines, the log, and what to do.

    ``hidden`` are paths in the working tree that the stage did not see.
    """
    if isinstance(error, RondelError) and not isinstance(error, StageFailed):
        error.what, error.cause = recorder.redact(error.what), recorder.redact(error.cause)
        error.why = recorder.redact(error.why) if error.why else None
        error.place = error.place or f"stage {stage.name!r}"
        return error
    if engine_is_gone(error):
        gone = EngineUnavailable(
            f"stage {stage.name!r}: the engine went away while it ran",
            why=f"{recorder.redact(str(error).strip())}\nlog: {short_path(folder.log(stage.name))}",
            hint="run again (finished stages are kept); check whether the machine ran out of memory",
        )
        gone.__cause__ = error
        return gone
    lines: list[str] = []
    cause: str | None = None
    if isinstance(error, StageFailed):
        cause = error.cause
        what = error.what if stage.name in error.what else f"stage {stage.name!r}: {error.what}"
        lines += (error.why or "").splitlines()
    elif type(error).__name__ == "ExecError" and hasattr(error, "exit_code"):
        what, lines, cause = _exec_error(error, stage, recorder)
    else:
        what = f"stage {stage.name!r} raised {type(error).__name__}: {error}"
        lines += _where(error, stage)
        if lines:
            recorder.output("\n".join(lines))
    lines.append(f"log: {short_path(folder.log(stage.name))}")
    lines.append(f"capsule: {short_path(folder.capsule)}")
    why = recorder.redact("\n".join(lines))
    hint = getattr(error, "hint", None) or _hint(stage, _end_of(folder.log(stage.name), why), hidden)
    translated = StageFailed(
        recorder.redact(what), why=why, hint=hint, cause=recorder.redact(cause) if cause else None
    )
    translated.__cause__ = error
    return translated


def _end_of(log: Path, default: str) -> str:
    """The end of the stage's log: the cause may be far above a command's last lines."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return default


def engine_is_gone(error: Exception) -> bool:
    """Whether the engine failed, not the stage.

    A request in flight breaks off with TransportError. The launcher answers later requests, and
    the client's repetition of the first one, with the type ENGINE_UNAVAILABLE.
    """
    if not type(error).__module__.startswith("dagger"):
        return False
    if type(error).__name__ == "TransportError":
        return True
    first = getattr(error, "error", None)
    return (getattr(first, "extensions", None) or {}).get("_type") == "ENGINE_UNAVAILABLE"


def _exec_error(error: Any, stage: Stage, recorder: StageRecorder) -> tuple[str, list[str], str | None]:
    command = shlex.join(str(word) for word in error.command)
    output = "\n".join(part for part in (error.stdout, error.stderr) if part)
    printed = recorder.redact(output).splitlines()
    if printed and not recorder.tail:
        recorder.output("\n".join(printed))
    recorder.command([str(word) for word in error.command], exit_code=error.exit_code)
    what = f"stage {stage.name!r}: a command ended with exit code {error.exit_code}"
    tail = printed or list(recorder.tail)
    return what, command_and_output(recorder.redact(command), tail[-20:]).splitlines(), last_line(tail)


def _where(error: Exception, stage: Stage) -> list[str]:
    """The lines of the pipeline file in the exception's traceback."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == stage.place.file]
    return [f"at {short_path(Path(frame.filename))}:{frame.lineno}: {frame.line}" for frame in own]


def _hint(stage: Stage, output: str, hidden: Collection[str]) -> str | None:
    """What to do about a failure that the command's output explains; None for an unknown one."""
    if unseen := [path for path in hidden if path in output]:
        return (
            f"this stage does not see {', '.join(unseen)}: a stage sees the results of stages in its needs, "
            "and not what it made itself in an earlier run"
        )
    if _NO_REPOSITORY.search(output) and not stage.git:
        return (
            f"stages have no .git by default; declare {stage.base!r} with git=True, "
            "or read the commit from $RONDEL_GIT_COMMIT"
        )
    if _NO_GIT.search(output):
        return "the image has no git: install it in the Containerfile, or read $RONDEL_GIT_COMMIT"
    return None
