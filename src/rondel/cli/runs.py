"""``rondel runs [list|show|export|prune]``: lists, shows, exports or removes the project's runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.errors import ConfigurationError
from rondel.record import Capsule, RunFolder, list_runs, load
from rondel.record.folder import run_ids
from rondel.reports.formatting import duration, key_metrics
from rondel.reports.terminal import columns, width_of
from rondel.settings import find_root

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

COMMANDS = ("list", "show", "export", "prune")


def main(argv: Sequence[str]) -> int:
    """List runs (the default), show or export one, or remove old ones."""
    words = list(argv)
    if words and words[0] == "show":
        from rondel.cli.show import main as show

        return show(words[1:])
    if not words or (words[0].startswith("-") and words[0] not in {"-h", "--help"}):
        words = ["list", *words]
    arguments = _parser().parse_args(words)
    if arguments.command == "export":
        return _export(arguments)
    return _prune(arguments) if arguments.command == "prune" else _list(arguments.number)


def _parser() -> Parser:
    parser = Parser(prog="rondel runs", description=main.__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="|".join(COMMANDS), parser_class=Parser
    )
    listing = commands.add_parser("list", help="list runs, newest first")
    listing.add_argument("-n", "--number", type=int, default=20, help="how many (default: 20; 0: all)")
    commands.add_parser("show", help="show a run: its code, image, stages and error")
    export = commands.add_parser("export", help="write a run to a file for other machines")
    export.add_argument("run", nargs="?", metavar="RUN", help="an ID, its start, or a path (default: newest)")
    export.add_argument("-o", "--output", metavar="FILE", help="the file (default: ID.capsule)")
    prune = commands.add_parser("prune", help="remove old runs")
    prune.add_argument("--keep", type=int, default=5, metavar="N", help="keep the newest N (default: 5)")
    prune.add_argument("--size", metavar="SIZE", help="remove only until the rest fits, for example 500M")
    prune.add_argument("-n", "--dry-run", action="store_true", help="only list the runs to remove")
    return parser


def _list(number: int) -> int:
    if number < 0:
        raise ConfigurationError("--number cannot be negative", hint="0 lists all runs")
    root = find_root(Path.cwd())
    rows: list[tuple[str, ...]] = []
    for folder, found in list_runs(root):
        if number and len(rows) >= number:
            break
        if isinstance(found, Capsule):
            rows.append(_row(found, killed=found.state == "running" and folder.abandoned))
        else:
            rows.append((folder.path.name, "unreadable", "", "", "", "", found.what))
    if not rows:
        print("there are no runs yet")
        return 0
    header = ("run", "state", "targets", "stage", "branch", "time", "metrics")
    print("\n".join(columns(header, rows, width=width_of(sys.stdout))))
    if older := len(run_ids(root)) - len(rows):
        print(f"and {older} older; --number 0 lists all")
    return 0


def _row(capsule: Capsule, *, killed: bool) -> tuple[str, ...]:
    failed = [record.name for record in capsule.stages if record.state in {"failed", "cancelled", "running"}]
    ran = [record.name for record in capsule.stages if record.state in {"ran", "restored"}]
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


def _export(arguments: argparse.Namespace) -> int:
    from rondel.record.archive import export, secret_results
    from rondel.secrets.masker import Masker
    from rondel.secrets.values import secret_values

    folder, capsule = load(find_root(Path.cwd()), arguments.run)
    target = Path(arguments.output or f"{capsule.id}.capsule")
    omitted = secret_results(folder, Masker(secret_values(os.environ, capsule.secrets)))
    for name, reason in omitted.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    print(f"{export(folder, target, omitted=omitted)}  {target}")
    for path, reason in capsule.git.omitted.items():
        print(f"left out: {path} ({reason})")
    return 0


def _prune(arguments: argparse.Namespace) -> int:
    from rondel.cache.entries import cached_runs
    from rondel.cli.engine import shown, size
    from rondel.record.prune import runs_to_remove, runs_with_sizes

    if arguments.keep < 0:
        raise ConfigurationError("--keep cannot be negative")
    root = find_root(Path.cwd())
    runs = runs_with_sizes(root)
    budget = size(arguments.size, place="--size") if arguments.size else None
    chosen = runs_to_remove(runs, budget=budget, keep=arguments.keep, needed=cached_runs(root))
    sizes = {run.id: run.size for run in runs}
    for run in chosen:
        print(f"{run}  {shown(sizes[run])}")
        if not arguments.dry_run:
            RunFolder.of(root, run).remove()
    word = "would free" if arguments.dry_run else "freed"
    print(f"{word} {shown(sum(sizes[run] for run in chosen))} in {len(chosen)} of {len(runs)} runs")
    return 0
