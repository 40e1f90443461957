"""``rondel show [RUN]``: shows a run's capsule."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.cli.arguments import Parser
from rondel.errors import RecordError, did_you_mean
from rondel.record import Capsule, Image, RunFolder, load
from rondel.record.folder import short_path
from rondel.record.validation import printable
from rondel.reports.report_files import PAGE
from rondel.reports.terminal import coloured, summary, width_of
from rondel.runner.repeat_commands import repeat
from rondel.settings import find_root

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def main(argv: Sequence[str]) -> int:
    """Show a run (default: the newest). RUN is an ID, a file or an address, as for `reproduce`."""
    parser = Parser(prog="rondel show", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("run", nargs="?", metavar="RUN")
    parser.add_argument("--json", action="store_true", help="print the capsule itself")
    parser.add_argument("--log", metavar="STAGE", help="print the whole log of a stage")
    arguments = parser.parse_args(list(argv))
    folder, capsule = _find(find_root(Path.cwd()), arguments.run)
    if arguments.json:
        sys.stdout.write(folder.capsule.read_text(encoding="utf-8"))
    elif arguments.log:
        sys.stdout.write(_log(folder, capsule, arguments.log))
    else:
        print("\n".join(describe(folder, capsule)))
    return 0


def _find(root: Path, name: str | None) -> tuple[RunFolder, Capsule]:
    if name is None:
        return load(root)
    from rondel.reproduce.capsule_source import find_capsule, source_kind

    if source_kind(name) == "run":
        return load(root, name)
    found = find_capsule(root, name)
    return found.folder, found.capsule


def _log(folder: RunFolder, capsule: Capsule, stage: str) -> str:
    names = [record.name for record in capsule.stages]
    if stage not in names:
        raise RecordError(f"run {capsule.id} has no stage {stage!r}", hint=did_you_mean(stage, names))
    try:
        return folder.log(stage).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise RecordError(f"stage {stage!r} has no log: it did not run", place=str(folder.path)) from None


SOURCES = {
    "host": "this machine's system was the base image",
    "in-place": "in place, directly on this machine",
}


def image(found: Image) -> str:
    """The image in a line: its reference, its digest, and the source of its base image."""
    where = SOURCES.get(found.source or "", "")
    base = (found.base or "") if found.source == "registry" else ""
    return ", ".join(part for part in (found.reference, found.digest, where, base) if part)


def _rule(rule: Mapping[str, Any]) -> str:
    """A rule with its result; for a failed rule, also the reason."""
    held = bool(rule.get("passed"))
    reason = rule.get("reason")
    return f"{'✓' if held else '✗'} {rule.get('rule', '')}" + (f": {reason}" if reason and not held else "")


def describe(folder: RunFolder, capsule: Capsule) -> list[str]:
    """The run in lines: its state, code, image, stages and error."""
    git = capsule.git
    killed = capsule.state == "running" and folder.abandoned
    code = (git.commit or "no commit")[:12] + (f" on {git.branch}" if git.branch else "")
    facts = {
        "run": f"{capsule.id} {'killed' if killed else capsule.state}",
        "command": repeat(capsule),
        "code": code + (" with uncommitted changes" if git.dirty else ""),
        "engine": f"{capsule.engine.kind} {capsule.engine.version}".strip()
        if capsule.engine
        else "not needed",
        "image": image(capsule.image) if capsule.image else "",
        "machine": f"{capsule.host.distribution}, Python {capsule.host.python}",
        "job": (capsule.ci.url or capsule.ci.provider) if capsule.ci else "",
        "mlflow": capsule.mlflow.url or capsule.mlflow.run_id if capsule.mlflow else "",
        "folder": short_path(folder.path),
        "report": short_path(folder.path / PAGE) if (folder.path / PAGE).is_file() else "",
    }
    lines = [printable(f"{name:8} {text}") for name, text in facts.items() if text]
    lines += ["", *summary(capsule, colour=coloured(sys.stdout), width=width_of(sys.stdout))]
    for record in capsule.stages:
        for verdict in record.verdicts:
            lines += ["", f"gate of {record.name}: {'passed' if verdict.passed else 'failed'}"]
            lines += [printable(f"  {_rule(rule)}") for rule in verdict.rules]
    if capsule.error:
        lines += ["", *map(printable, capsule.error.splitlines())]
    return lines
