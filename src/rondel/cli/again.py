"""The command that repeats what failed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

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
    return shlex.join(["python", request.file, *words])
