"""The command that repeats what failed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from rondel.record import Capsule
    from rondel.runner.run import Request


def repeat_command(request: Request, capsule: Capsule) -> str:
    """The command that runs the failed stage again, alone if what it needs is there."""
    failed = next((record for record in capsule.stages if record.state in {"failed", "cancelled"}), None)
    flags = request.settings.arguments()
    if failed is None:
        words = list(request.arguments)
    else:
        flags = [word for word in flags if word not in {"--only", "--no-cache"}]
        words = [failed.name, "--only", *flags]
        if "--from" in words:
            at = words.index("--from")
            del words[at : at + 2]
    return shlex.join([*_program(request), *words])


def follow_ups(request: Request, capsule: Capsule) -> list[str]:
    """The commands that go on from where the run ended, and that look into its failure."""
    if request.settings.reproduces:
        return []
    if capsule.state == "waiting":
        words = [*_program(request), "--resume", capsule.id, "--approve-by"]
        return [f"resume: {shlex.join(words)} NAME"]
    lines = [f"again: {repeat_command(request, capsule)}"]
    if capsule.exit_code != ConfigurationError.exit_code:
        lines.append(f"resume: {shlex.join([*_program(request), '--resume', capsule.id])}")
    if any(record.state == "failed" and record.kind == "pure" for record in capsule.stages):
        lines.append(f"reproduce: rondel reproduce {capsule.id}")
    return lines


def _program(request: Request) -> list[str]:
    from rondel.record.folder import shown

    return ["python", shown(request.settings.root / request.file)]
