"""``rondel runs``: the project's runs, newest first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.record import Capsule, list_runs
from rondel.reports.table import columns, duration, key_metrics
from rondel.settings import find_root

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """List runs: ID, state, what was asked for, where it ended, branch, time, key metrics."""
    parser = Parser(prog="rondel runs", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("-n", "--number", type=int, default=20, help="how many (20; 0: all)")
    arguments = parser.parse_args(list(argv))
    root = find_root(Path.cwd())
    rows: list[tuple[str, ...]] = []
    for folder, found in list_runs(root):
        if arguments.number and len(rows) >= arguments.number:
            break
        if isinstance(found, Capsule):
            rows.append(_row(found, killed=found.state == "running" and folder.abandoned))
        else:
            rows.append((folder.path.name, "unreadable", "", "", "", "", found.what))
    if not rows:
        print("there is no run yet")
        return 0
    header = ("run", "state", "targets", "stage", "branch", "time", "metrics")
    print("\n".join(columns(header, rows)))
    return 0


def _row(capsule: Capsule, *, killed: bool) -> tuple[str, ...]:
    failed = [record.name for record in capsule.stages if record.state in {"failed", "cancelled", "running"}]
    ran = [record.name for record in capsule.stages if record.state == "ran"]
    measured = [record for record in capsule.stages if record.metrics]
    stage = failed[0] if failed else ran[-1] if ran else "all cached"
    branch = (capsule.git.branch or (capsule.git.commit or "")[:8]) + ("*" if capsule.git.dirty else "")
    return (
        capsule.id,
        "killed" if killed else capsule.state,
        " ".join(capsule.targets),
        stage,
        branch,
        duration(capsule.seconds),
        key_metrics(measured[-1]) if measured else "",
    )
