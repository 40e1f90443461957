"""The command that repeats what failed."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from rondel.record import Capsule
    from rondel.runner.run import Request


def repeat_command(request: Request, capsule: Capsule) -> str:
    """The command that runs the failed stage again, alone if what it needs is there."""
    broken = [record for record in capsule.stages if record.state in {"failed", "cancelled"}]
    # What failed first, whose error is the run's; the others may only have been ended because of it.
    # After an interrupt there are none but those.
    failed = min(
        broken, key=lambda record: (record.state == "cancelled", record.finished or ""), default=None
    )
    if failed is None:
        words = [*request.arguments, *_giving(request)]
    else:
        settings = replace(request.settings, params=_params_of(request, failed.name))
        flags = settings.arguments()
        flags = [word for word in flags if word not in {"--only", "--no-cache"}]
        words = [failed.name, "--only", *flags]
        if "--from" in words:
            at = words.index("--from")
            del words[at : at + 2]
    return shlex.join([*_program(request), *words])


def _params_of(request: Request, stage: str) -> tuple[tuple[str, str], ...]:
    """The ``-P`` values that concern the stage: alone, it would refuse the others."""
    known = request.overrides.get(stage, {})

    def concerns(name: str) -> bool:
        base, _, parameter = name.partition(".")  # of an entry point: STAGE.PARAMETER
        return name in known or (parameter in known and stage.startswith(base))

    return tuple((name, text) for name, text in request.settings.params if concerns(name))


def follow_ups(request: Request, capsule: Capsule) -> list[str]:
    """The commands that go on from where the run ended, and that look into its failure."""
    if request.settings.reproduces:
        return []
    if capsule.state == "waiting":
        words = [*_program(request), "--resume", capsule.id, "--approve-by"]
        return [f"resume: {shlex.join(words)} NAME"]
    lines = [f"again: {repeat_command(request, capsule)}"]
    if capsule.exit_code != ConfigurationError.exit_code:
        words = [*_program(request), "--resume", capsule.id, *_giving(request)]
        lines.append(f"resume: {shlex.join(words)}")
    if any(record.state == "failed" and record.kind == "pure" for record in capsule.stages):
        lines.append(f"reproduce: rondel reproduce {capsule.id}")
    return lines


def _giving(request: Request) -> list[str]:
    """The flag by which the run was to commit its results; a reproduction must not, so no record has it."""
    return ["--commit"] if request.settings.commit else []


def _program(request: Request) -> list[str]:
    from rondel.record.folder import shown

    return ["python", shown(request.settings.root / request.file)]
