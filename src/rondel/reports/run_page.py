"""A run as one HTML page: what became of it and when, its stages with their inputs and logs, its gates.

The page is one file without scripts. It stands beside the capsule, and where
CI systems collect reports; all that it says is in the capsule, the logs and
what the evaluation brought back.
"""

from __future__ import annotations

import re
import shlex
from html import escape
from typing import TYPE_CHECKING, Any

from rondel.reports.console import MARKS, as_seen
from rondel.reports.html import code, page, table
from rondel.reports.page import render_gates
from rondel.reports.published import WORDS, verdict_line
from rondel.reports.table import TIMED, duration, key_metrics, metric
from rondel.reports.timeline import STYLE, timeline
from rondel.runner import repeat_commands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rondel.record import Capsule, Image, StageRecord

_TAIL_LINES = 60
_TAIL_BYTES = 1 << 15
_MOST_ROWS = 60

LOOKS = {
    "ran": "good",
    "restored": "good",
    "cached": "soft",
    "failed": "bad",
    "skipped": "soft",
    "cancelled": "wait",
    "succeeded": "good",
    "waiting": "wait",
    "interrupted": "wait",
    "running": "wait",
}
"""The style's class of a stage's or a run's state."""

_STYLE = (
    STYLE
    + """
.facts td { border: 0; padding-top: .1rem; padding-bottom: .1rem }
.facts td:first-child { color: var(--soft); white-space: nowrap } .facts a { overflow-wrap: anywhere }
.said { border-left: 4px solid; padding: .1rem .8rem; margin: .8rem 0 } .said span { color: var(--ink) }
@media print { details { break-inside: avoid } pre { max-height: none } }
"""
)


def render_run(capsule: Capsule, folder: Path) -> str:
    """The page of a run that has ended; ``folder`` is the run's."""
    word = WORDS.get(capsule.state, capsule.state)
    look = LOOKS.get(capsule.state, "bad")
    facts = (code(capsule.id), escape(_when(capsule.created)), escape(duration(capsule.seconds)))
    parts = [
        f'<h1>{escape(capsule.pipeline)} <span class="{look}">{escape(word)}</span></h1>',
        f'<p class="soft">run {" · ".join(facts)}</p>',
        f'<div class="said {look}"><span>{escape(verdict_line(capsule))}</span></div>',
        _failure(capsule),
        _again(capsule),
        "<h2>Stages</h2>",
        timeline(capsule),
        *(_stage(record, folder) for record in capsule.stages),
        *(render_gates(record, folder, head="h2") for record in capsule.stages if record.verdicts),
        _made_from(capsule),
    ]
    return page(f"{capsule.pipeline} {word}", "".join(parts), style=_STYLE)


def _when(iso: str) -> str:
    match = re.match(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)", iso)
    return f"{match[1]} {match[2]} UTC" if match else iso


def _failure(capsule: Capsule) -> str:
    failed = next((record for record in capsule.stages if record.error), None)
    text = (failed.error if failed else None) or capsule.error
    return f"<pre>{escape(_plain(text))}</pre>" if text else ""


def _stage(record: StageRecord, folder: Path) -> str:
    took = f" · {duration(record.seconds)}" if record.state in TIMED else ""
    shown = key_metrics(record)
    state = f"{MARKS.get(record.state, '·')} {record.state}"
    look = LOOKS.get(record.state, "soft")
    head = f'<b>{escape(record.name)}</b> <span class="{look}">{escape(state)}</span>{took}'
    head += f' · <span class="soft">{escape(shown)}</span>' if shown else ""
    head += f' · <span class="wait">{_counted(record.undeclared)}</span>' if record.undeclared else ""
    commands = [
        (
            code(_typed(each.args)),
            "" if each.exit_code is None else str(each.exit_code),
            "" if each.seconds is None else escape(duration(each.seconds)),
            escape(each.outcome),
        )
        for each in record.commands
    ]
    parts = [f"<p>{escape(record.reason)}</p>" if record.reason else ""]
    if commands:
        parts.append(table(("command", "exit code", "time", "DVC"), commands, numbers=(1, 2)))
    parts += [
        _pairs("metric", {name: metric(value) for name, value in record.metrics.items()}),
        _pairs("parameter", record.parameters),
        _pairs("input", record.inputs),
        _undeclared(record),
        _pairs("output", record.outputs),
        _log(record, folder),
    ]
    facts = {
        "kind": record.kind,
        "attempts": str(record.attempts) if record.attempts > 1 else "",
        "key": record.key.digest if record.key else "",
        "image": _image(record.image),
        "MLflow run": record.mlflow.run_id if record.mlflow else "",
    }
    parts.append(_facts({name: code(text) for name, text in facts.items() if text}))
    opened = " open" if record.state == "failed" else ""
    return f"<details{opened}><summary>{head}</summary>{''.join(parts)}</details>"


def _counted(undeclared: Sequence[str]) -> str:
    return f"{len(undeclared)} undeclared input{'s' if len(undeclared) > 1 else ''}"


def _undeclared(record: StageRecord) -> str:
    """What the commands read beside what they declare, or that nobody knows."""
    if record.undeclared:
        names = ", ".join(code(path) for path in record.undeclared[:_MOST_ROWS])
        return f"<p>Read and not declared in <code>dvc.yaml</code>: {names}</p>"
    if record.untraced and any(use.kind == "dvc" for use in record.uses):
        return f'<p class="soft">What else it read is not known: {escape(record.untraced)}</p>'
    return ""


def _typed(args: Sequence[str]) -> str:
    """A command as one types it; ``&&`` between two of them is not quoted, nor is a shell line."""
    if len(args) == 1:
        return args[0]
    return " ".join(word if word == "&&" else shlex.quote(word) for word in args)


def _pairs(name: str, values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    rows = [(code(key), code(_value(value))) for key, value in list(values.items())[:_MOST_ROWS]]
    more = len(values) - len(rows)
    rest = f'<p class="soft">and {more} more, in the capsule</p>' if more > 0 else ""
    heads = (f"{name}s", "")
    if len(values) <= 5 or more > 0:
        return table(heads, rows) + rest
    label = f"{len(values)} {name}s"
    return f"<details><summary>{label}</summary>{table(('', ''), rows)}</details>"


def _value(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _log(record: StageRecord, folder: Path) -> str:
    if not record.log:
        return ""
    lines, whole = _tail(folder / record.log)
    if not lines:
        return ""
    told = "its output" if whole else f"the last lines of its output; all of it: {code(record.log)}"
    return f'<p class="soft">{told}</p><pre>{escape(chr(10).join(lines))}</pre>'


def _tail(path: Path) -> tuple[Sequence[str], bool]:
    """The last lines of a log, and whether that is all of it."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return [], True
    lines = _plain(text).splitlines()[1 if start else 0 :]
    return lines[-_TAIL_LINES:], not start and len(lines) <= _TAIL_LINES


def _plain(text: str) -> str:
    return "\n".join(map(as_seen, text.split("\n")))


def _aside(capsule: Capsule) -> str:
    """Where the results are that are not the working tree's, and of which stages."""
    names = [record.name for record in capsule.stages if record.aside]
    if not names:
        return ""
    stages = ", ".join(map(escape, names))
    return f"of {stages}: {code(f'.rondel/runs/{capsule.id}/tree')}, not in the working tree"


def _made_from(capsule: Capsule) -> str:
    git, host, engine = capsule.git, capsule.host, capsule.engine
    commit = code(git.commit[:12]) if git.commit else "no commit"
    commit += f" on {escape(git.branch)}" if git.branch else ""
    changed = sorted({*git.changed, *git.untracked})
    facts = {
        "code": commit + (", with uncommitted changes" if git.dirty else ""),
        "changed files": ", ".join(code(path) for path in changed[:20]) + (" …" if len(changed) > 20 else ""),
        "command": code(repeat_commands.repeat(capsule)),
        "parameters given": ", ".join(code(f"{name}={value}") for name, value in capsule.overrides.items()),
        "results": _aside(capsule),
        "image": code(_image(capsule.image)) if capsule.image else "",
        "engine": escape(f"{engine.kind} {engine.version}") if engine else "not needed",
        "machine": escape(f"{host.distribution}, Python {host.python}, {host.cpus} CPUs"),
        "Rondel": escape(host.rondel),
        "CI job": _link(capsule.ci.url, capsule.ci.name or capsule.ci.url or "") if capsule.ci else "",
        "MLflow": _link(capsule.mlflow.url, capsule.mlflow.run_id) if capsule.mlflow else "",
        "secrets": ", ".join(map(code, capsule.secrets)),
        "goes on from": code(capsule.resumes) if capsule.resumes else "",
        "reproduces": code(capsule.reproduces) if capsule.reproduces else "",
    }
    return f"<h2>Made from</h2>{_facts(facts)}{_pairs('variable', capsule.environment)}"


def _image(image: Image | None) -> str:
    return ", ".join(filter(None, (image.reference, image.digest, image.source))) if image else ""


def _facts(facts: Mapping[str, str]) -> str:
    rows = [(escape(name), markup) for name, markup in facts.items() if markup]
    return table(("", ""), rows).replace("<table>", '<table class="facts">') if rows else ""


def _link(url: str | None, text: str) -> str:
    if url and re.match(r"https?://", url):
        return f'<a href="{escape(url)}">{escape(text)}</a>'
    return code(text)


def _again(capsule: Capsule) -> str:
    """The commands that go on from a failure, and that look into it."""
    if capsule.state == "succeeded":
        return ""
    rows = [("go on from there", code(repeat_commands.resume(capsule)))]
    if repeat_commands.can_be_reproduced(capsule):
        rows.append(("look into it, anywhere", code(repeat_commands.reproduce(capsule, anywhere=True))))
    return _facts(dict(rows))
