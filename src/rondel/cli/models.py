"""``rondel models``: shows registered models, their versions, lineage and history."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.settings import find_root, load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from rondel.registry.backends import Registry


def main(argv: Sequence[str]) -> int:
    """List the registered models, show a version's lineage or an alias's history, or verify a version."""
    parser = Parser(prog="rondel models", description=main.__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    listing = commands.add_parser("list", help="models and their versions (the default)")
    listing.add_argument("model", nargs="?", metavar="NAME")
    listing.add_argument("--json", action="store_true", help="as JSON")
    show = commands.add_parser("show", help="one version, down to its data files and commit")
    show.add_argument("model", metavar="NAME[@ALIAS|/VERSION]")
    show.add_argument("--json", action="store_true", help="as JSON")
    history = commands.add_parser("history", help="who changed which alias, when and why")
    history.add_argument("model", metavar="NAME[@ALIAS]")
    history.add_argument("--at", metavar="TIME", help="which version was champion (or ALIAS) at that time")
    checking = commands.add_parser("verify", help="verify a version's log, SBOM, provenance and signature")
    checking.add_argument("model", metavar="NAME[@ALIAS|/VERSION]")
    checking.add_argument("--key", action="append", default=[], type=Path, metavar="PEM", help="a public key")
    arguments = parser.parse_args(list(argv) or ["list"])
    from rondel.registry import commands as registry

    async def action(source: Registry) -> list[str]:
        match arguments.command:
            case "show":
                return await registry.show(source, arguments.model, as_json=arguments.json)
            case "history":
                return await registry.history(source, arguments.model, at=arguments.at)
            case "verify":
                from rondel.registry.verify import verify

                return await verify(source, arguments.model, arguments.key)
            case _:
                return await registry.list_models(source, arguments.model, as_json=arguments.json)

    return run(action)


def run(action: Callable[[Registry], Awaitable[list[str]]]) -> int:
    """Run ``action`` on the project's registry and print its lines."""
    from rondel.ci.providers import detect
    from rondel.registry.commands import with_registry

    root = find_root(Path.cwd())
    settings = load_settings(root, {}, os.environ)
    linger = 0 if detect(os.environ) else settings.linger
    print("\n".join(with_registry(root, os.environ, settings.tracking_uri, action, linger=linger)))
    return 0
