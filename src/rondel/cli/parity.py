"""``rondel parity A B``: shows what differs between two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.errors import InputsDiffer, RecordError, ResultsDiffer, did_you_mean
from rondel.settings import find_root

if TYPE_CHECKING:
    from collections.abc import Sequence

CODES = {"same": 0, "inputs differ": InputsDiffer.exit_code, "results differ": ResultsDiffer.exit_code}


def main(argv: Sequence[str]) -> int:
    """Compare two runs: show the first input that differs, and the results that differ.

    A and B are IDs, files or addresses, as for `rondel reproduce`. The exit code is 0
    if the runs are the same, 30 if an input differs, and 31 if results differ although
    the inputs are equal.
    """
    parser = Parser(prog="rondel parity", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("a", metavar="A")
    parser.add_argument("b", metavar="B")
    parser.add_argument("--stage", action="append", metavar="STAGE", help="only this stage (repeatable)")
    parser.add_argument("--strict", action="store_true", help="also compare engine and hardware")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(list(argv))
    from rondel.parity import compare_runs
    from rondel.record.validation import printable
    from rondel.reports.parity import parity_json, parity_table
    from rondel.reproduce.capsule_source import find_capsule

    root = find_root(Path.cwd())
    runs = [find_capsule(root, name).capsule for name in (arguments.a, arguments.b)]
    known = {record.name for run in runs for record in run.stages}
    for stage in arguments.stage or ():
        if stage not in known:
            raise RecordError(f"neither run has a stage {stage!r}", hint=did_you_mean(stage, known))
    parity = compare_runs(*runs, stages=arguments.stage, strict=arguments.strict)
    if arguments.json:
        print(json.dumps(parity_json(parity), indent=1, ensure_ascii=False))
    else:
        print("\n".join(map(printable, parity_table(parity))))
    return CODES[parity.verdict]
