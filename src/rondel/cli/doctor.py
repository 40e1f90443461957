"""``rondel doctor``: shows what this machine can run; with ``--ci``, also what a CI job here would do."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.cli.arguments import Parser
from rondel.cli.findings import Finding, show_findings
from rondel.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rondel.engine.doctor import EngineCapabilities


def main(argv: Sequence[str]) -> int:
    """Check Python, git, MLflow, DVC and the engines. The exit code is 1 if something required is missing.

    With --ci also: which CI job this is, how its stages run and why, what it
    would push, as whom, and which secrets it gets (names only).
    """
    parser = Parser(prog="rondel doctor", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--ci", action="store_true", help="show what a run in this CI job would do")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(list(argv))
    _place_store()
    machine, found = look()
    findings = [*sdk_findings(), *found]
    document: dict[str, Any] = {}
    if arguments.ci:
        from rondel.cli.doctor_ci import examine_job

        job, document = examine_job(machine)
        findings = [*job, *findings]
    if arguments.json:
        print(json.dumps({**document, "findings": [asdict(each) for each in findings]}, indent=2))
    else:
        show_findings(findings)
    return 1 if any(finding.level == "bad" for finding in findings) else 0


def _place_store() -> None:
    """Set the location of the engine's store as for a run here."""
    from rondel.engines.session import engine_home
    from rondel.errors import ConfigurationError
    from rondel.settings import find_root

    try:
        os.environ.update(engine_home(find_root(Path.cwd()), os.environ))
    except ConfigurationError:
        return  # outside a project, the default location applies


def sdk_findings() -> Iterator[Finding]:
    """What the SDK needs."""
    yield Finding("good", "rondel", f"{__version__}, Python {platform.python_version()}")
    git = shutil.which("git")
    yield Finding("good", "git", git) if git else Finding("note", "git", "not found: records have no commit")
    for module, need in (("mlflow", "a local MLflow server"), ("wsgidav", "the local DVC remote")):
        if importlib.util.find_spec(module):
            yield Finding("good", module, "installed")
        else:
            yield Finding("note", module, f"not installed, {need} needs it: pip install 'rondel[mlops]'")
    yield _dagger()


def _dagger() -> Finding:
    from rondel.engines.choice import find_real_cli
    from rondel.engines.discovery import find_engine

    real = find_real_cli(os.environ)
    if real is None:
        return Finding("note", "dagger", "no Dagger CLI on the PATH: the embedded engine is used")
    reach = find_engine(os.environ)
    if reach is not None:
        if problem := reach.unanswered():
            return Finding("bad", "dagger", f"{real}; {reach}, but {problem}")
        return Finding("good", "dagger", f"{real}; {reach}")
    return Finding("note", "dagger", f"{real}, but no container runtime answers: the embedded engine is used")


def look() -> tuple[EngineCapabilities | None, list[Finding]]:
    """The machine as the embedded engine sees it, with findings."""
    if sys.platform != "linux":
        text = "the embedded engine runs only on Linux; use a Dagger engine on this machine"
        return None, [Finding("bad", "engine", text)]
    from rondel.engine import doctor
    from rondel.errors import EngineUnavailable

    try:
        machine = doctor.look()
    except EngineUnavailable as error:
        return None, [Finding("bad", "engine", f"{error.what}: {error.why}")]
    return machine, [Finding(each.level, each.subject, each.text) for each in doctor.findings(machine)]
