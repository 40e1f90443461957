"""``rondel promote NAME[@challenger]``: makes a version the champion if it meets the conditions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.ci.providers import detect
from rondel.cli.arguments import Parser
from rondel.cli.models import run
from rondel.settings import find_root, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.registry.backends import Registry


def main(argv: Sequence[str]) -> int:
    """Set an alias to a version that passed its gate, has a clean commit, and has its data in the remote."""
    parser = Parser(prog="rondel promote", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("model", metavar="NAME[@ALIAS|/VERSION]", help="default: the challenger")
    parser.add_argument("--to", default="champion", metavar="ALIAS", help="the alias to set")
    parser.add_argument("--force", action="store_true", help="promote even if conditions are not met")
    parser.add_argument("--reason", default="", metavar="TEXT", help="the reason, for the log")
    arguments = parser.parse_args(list(argv))
    root = find_root(Path.cwd())
    settings = load_settings(root, {}, os.environ)
    job = detect(os.environ)
    started_by = job.started_by if job is not None else None

    async def action(source: Registry) -> list[str]:
        from rondel.registry.commands import promote_model

        return await promote_model(
            source,
            arguments.model,
            root=root,
            environ=os.environ,
            to=arguments.to,
            force=arguments.force,
            reason=arguments.reason,
            remote=settings.remote,
            started_by=started_by,
        )

    return run(action)
