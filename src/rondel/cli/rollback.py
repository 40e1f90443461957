"""``rondel rollback NAME``: returns to the previous champion."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.ci.providers import detect
from rondel.cli.arguments import Parser
from rondel.cli.models import run
from rondel.settings import find_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.registry.backends import Registry


def main(argv: Sequence[str]) -> int:
    """Set an alias back to the version it had before the last promotion, or before several."""
    parser = Parser(prog="rondel rollback", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("model", metavar="NAME[@ALIAS]", help="the alias (default: champion)")
    parser.add_argument("--steps", type=int, default=1, metavar="N", help="how many promotions to undo")
    parser.add_argument("--alias", default="champion", metavar="ALIAS", help="the alias to set back")
    parser.add_argument("--reason", default="", metavar="TEXT", help="the reason, for the log")
    arguments = parser.parse_args(list(argv))
    job = detect(os.environ)
    started_by = job.started_by if job is not None else None

    async def action(source: Registry) -> list[str]:
        from rondel.registry.commands import rollback_model

        return await rollback_model(
            source,
            arguments.model,
            root=find_root(Path.cwd()),
            steps=arguments.steps,
            reason=arguments.reason,
            alias=arguments.alias,
            started_by=started_by,
        )

    return run(action)
