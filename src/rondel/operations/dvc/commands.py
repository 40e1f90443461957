"""What running a DVC stage means, and what its failures mean. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rondel.errors import DataError, StageFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.data import DvcProject, DvcStage
    from rondel.environment.data_container import TransferResult

State = Literal["ran", "restored", "unchanged"]

_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcOutcome:
    """What became of a DVC stage: ``seconds`` by phase; ``state`` tells whether its command ran.

    ``made_by`` is the run that made its result.
    """

    state: State
    seconds: Mapping[str, float] = field(default_factory=dict)
    made_by: str = ""


def command_script(stage: DvcStage) -> str:
    """The shell script that runs the stage's commands as DVC does, in the image's own shell.

    Outputs of the last time are removed first, one command follows the other as long as none
    fails, and stderr joins stdout, so that the log has the order in which things were said.
    """
    lines = ["exec 2>&1"]
    stale = [out.path for out in stage.outs if not out.persist]
    if stale:
        lines.append(f"rm -rf -- {shlex.join(stale)}")
    if stage.wdir not in {"", "."}:
        lines.append(f"cd {shlex.quote(stage.wdir)} || exit")
    for command in stage.cmd:
        lines.append(f"printf '%s\\n' {shlex.quote(f'> {command}')}")
        lines.append(f'"${{SHELL:-/bin/sh}}" -c {shlex.quote(command)} || exit')
    return "\n".join([*lines, ""])


def shown_command(stage: DvcStage) -> str:
    """The stage's commands as a person would type them from the project's folder."""
    text = " && ".join(stage.cmd)
    return text if stage.wdir in {"", "."} else f"cd {shlex.quote(stage.wdir)} && {text}"


def never_made(project: DvcProject, stage: DvcStage, inputs: Mapping[str, str]) -> DataError | None:
    """The error for a stage whose input no run has made yet, when this one does not make it either."""
    for path in stage.deps:
        maker = project.producer(path)
        if maker is None or inputs.get(path) != "missing":
            continue
        if maker.address not in project.lock and not (project.root / path).exists():
            return DataError(
                f"dvc stage {stage.address!r} needs {path}, which stage {maker.address!r} has not made yet",
                why=f"dvc.lock knows nothing of {maker.address!r}, and it is not part of this run",
                hint=f"run without --only; where a stage runs {maker.address!r}, name it in needs=",
            )
    return None


def command_failed(stage: DvcStage, code: int, lines: Sequence[str]) -> StageFailed:
    """The error of a command that ended with ``code``; ``lines`` are the last of its output."""
    return StageFailed(
        f"the command of dvc stage {stage.address!r} ended with exit code {code}", why=_why(stage, lines)
    )


def fetch_failed(stage: DvcStage, moved: TransferResult, remote: str, hint: str | None) -> DataError:
    """The error of data that could not be brought."""
    return DataError(
        f"dvc stage {stage.address!r} could not get what it needs from {remote}",
        why=_why(stage, moved.said.splitlines()),
        hint=hint or "what its stages made is nowhere any more: --no-cache makes it again",
    )


def keep_failed(
    stage: DvcStage, moved: TransferResult, lines: Sequence[str], remote: str
) -> StageFailed | DataError:
    """The error of results that could not be kept."""
    if moved.unmade:
        return StageFailed(
            f"the command of dvc stage {stage.address!r} did not make {', '.join(moved.unmade)}",
            why=_why(stage, lines),
            hint="its dvc.yaml declares that as an output",
        )
    said = moved.said.splitlines()
    if moved.phase == "push":
        return DataError(
            f"the results of dvc stage {stage.address!r} could not be pushed to {remote}",
            why=_why(stage, ["nothing was brought back; the results wait in the DVC cache", *said]),
            hint="check the remote and its credentials and run again; --no-push leaves the remote alone",
        )
    return StageFailed(f"DVC could not keep what dvc stage {stage.address!r} made", why=_why(stage, said))


def _why(stage: DvcStage, lines: Sequence[str]) -> str:
    return "\n".join([f"command: {shown_command(stage)}", *(f"│ {line}" for line in lines[-_LINES:])])
