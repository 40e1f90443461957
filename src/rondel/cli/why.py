"""``rondel why STAGE``: explains why a stage ran or did not run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.record import Capsule, list_runs, load
from rondel.record.validation import printable
from rondel.settings import find_root

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Show which part of a stage's key changed since which run, or where its result came from."""
    parser = Parser(prog="rondel why", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("stage", metavar="STAGE")
    parser.add_argument("--run", metavar="RUN", help="in this run (default: the newest with the stage)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(list(argv))
    from rondel.parity import explain
    from rondel.reports.parity import why_lines

    root = find_root(Path.cwd())
    newest = load(root, arguments.run)[1].id if arguments.run else None
    runs = [
        found
        for _, found in list_runs(root)
        if isinstance(found, Capsule)
        and (found.id == newest if found.reproduces else newest is None or found.id <= newest)
    ]
    why = explain(arguments.stage, runs)
    print(
        json.dumps(why.as_json(), indent=1, default=str)
        if arguments.json
        else "\n".join(map(printable, why_lines(why)))
    )
    return 0
