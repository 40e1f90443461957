"""The script that runs a DVC stage's commands, and the errors for its failures. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rondel.errors import DataError, StageFailed, command_and_output, last_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.data import DvcProject, DvcStage
    from rondel.environment.data_container import TransferResult

State = Literal["ran", "restored", "unchanged"]

_LINES_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcOutcome:
    """The result of a DVC stage.

    ``state`` is whether its command ran, ``seconds`` the duration of each phase, ``made_by`` the run
    that made the outputs.
    """

    state: State
    seconds: Mapping[str, float] = field(default_factory=dict)
    made_by: str = ""


def command_script(stage: DvcStage) -> str:
    """The shell script that runs the stage's commands as DVC does, in the image's shell.

    It first removes the old outputs, except those with ``persist``. It stops at the first command
    that fails. It redirects stderr to stdout, to keep the order of the lines.
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


def unmade_input(project: DvcProject, stage: DvcStage, inputs: Mapping[str, str]) -> DataError | None:
    """The error for a stage that needs an output of another stage which never ran."""
    for path in stage.deps:
        maker = project.producer(path)
        if maker is None or inputs.get(path) != "missing":
            continue
        if maker.address not in project.lock and not (project.root / path).exists():
            return DataError(
                f"dvc stage {stage.address!r} needs {path}, which stage {maker.address!r} has not made yet",
                why=f"dvc.lock has no entry for {maker.address!r}, and it is not part of this run",
                hint=f"run without --only; if another stage runs {maker.address!r}, name it in needs=",
            )
    return None


def command_failed(stage: DvcStage, code: int, lines: Sequence[str]) -> StageFailed:
    """The error for a command that ended with ``code``; ``lines`` are the end of its output."""
    return StageFailed(
        f"the command of dvc stage {stage.address!r} ended with exit code {code}",
        why=_why(stage, lines),
        cause=last_line(lines),
    )


def fetch_failed(stage: DvcStage, transfer: TransferResult, remote: str, hint: str | None) -> DataError:
    """The error for data that DVC can't fetch."""
    return DataError(
        f"can't fetch the inputs of dvc stage {stage.address!r} from {remote}",
        why=_why(stage, transfer.output.splitlines()),
        hint=hint or "use --no-cache to make the lost outputs of earlier stages again",
    )


def keep_failed(
    stage: DvcStage, transfer: TransferResult, lines: Sequence[str], remote: str
) -> StageFailed | DataError:
    """The error for outputs that DVC can't save or push."""
    if transfer.unmade:
        return StageFailed(
            f"the command of dvc stage {stage.address!r} did not make {', '.join(transfer.unmade)}",
            why=_why(stage, lines),
            hint="dvc.yaml declares that as an output",
        )
    output = transfer.output.splitlines()
    if transfer.phase == "push":
        return DataError(
            f"can't push the results of dvc stage {stage.address!r} to {remote}",
            why=_why(stage, ["the working tree is unchanged; the results are in the DVC cache", *output]),
            hint="check the remote and its credentials and run again, or run with --no-push",
        )
    return StageFailed(
        f"DVC can't save the outputs of dvc stage {stage.address!r}",
        why=_why(stage, output),
        cause=last_line(output),
    )


def _why(stage: DvcStage, lines: Sequence[str]) -> str:
    return command_and_output(shown_command(stage), lines[-_LINES_SHOWN:])
