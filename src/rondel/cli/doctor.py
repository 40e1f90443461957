"""``rondel doctor``: what this machine can run, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import rondel
from rondel.cli.arguments import Parser

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MARKS = {"good": "✓", "note": "·", "bad": "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["good", "note", "bad"]
    subject: str
    text: str


def main(argv: Sequence[str]) -> int:
    """Look at Python, git, MLflow, DVC, and the engines; exit code 1 if something needed is missing."""
    Parser(prog="rondel doctor", description=main.__doc__, allow_abbrev=False).parse_args(list(argv))
    findings = [*sdk_findings(), *engine_findings()]
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{MARKS[finding.level]} {finding.subject.ljust(width)}  {finding.text}")
    return 1 if any(finding.level == "bad" for finding in findings) else 0


def sdk_findings() -> Iterator[Finding]:
    """The SDK's own needs."""
    yield Finding("good", "rondel", f"{rondel.__version__}, Python {platform.python_version()}")
    git = shutil.which("git")
    yield Finding("good", "git", git) if git else Finding("note", "git", "not found: records hold no commit")
    for module, need in (("mlflow", "a local MLflow server"), ("wsgidav", "the local DVC remote")):
        if importlib.util.find_spec(module):
            yield Finding("good", module, "installed")
        else:
            yield Finding("note", module, f"not installed, {need} needs it: pip install 'rondel[mlops]'")
    yield _dagger()


def _dagger() -> Finding:
    from rondel.runner.engine import engine_in_reach, find_real_cli

    real = find_real_cli(os.environ)
    if real is None:
        return Finding("note", "dagger", "no Dagger CLI on the PATH: the embedded engine is used")
    if engine_in_reach(os.environ):
        return Finding("good", "dagger", f"{real}, with an engine in reach")
    return Finding("note", "dagger", f"{real}, but no container runtime answers: the embedded engine is used")


def engine_findings() -> Iterator[Finding]:
    """What the embedded engine says of this machine."""
    if sys.platform != "linux":
        yield Finding("bad", "engine", "the embedded engine runs on Linux; here a Dagger engine is needed")
        return
    from rondel.engine.doctor import examine

    for finding in examine():
        yield Finding(finding.level, finding.subject, finding.text)
