"""``rondel doctor --ci``: what a run in this CI job would do, in words and as a document."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.cli.findings import Finding
from rondel.errors import ConfigurationError, EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rondel.ci.job_facts import JobFacts
    from rondel.ci.model import CiContext
    from rondel.engine.doctor import EngineCapabilities
    from rondel.engines.execution_mode import ExecutionMode, Probe
    from rondel.settings import CiOptions, Settings

MODES = {
    "root": "as root",
    "subordinate": "as an ordinary user with subordinate IDs",
    "single": "as an ordinary user with one ID",
}


def examine_job(machine: EngineCapabilities | None) -> tuple[list[Finding], dict[str, Any]]:
    """What a run in this job would do: the findings, and the same as a document."""
    from rondel.ci.job_facts import job_facts
    from rondel.ci.providers import detect
    from rondel.engines.execution_mode import execution_mode

    findings: list[Finding] = []
    settings, options = _settings(findings)
    context = detect(os.environ)
    mode = execution_mode(_probe(settings, machine))
    facts = job_facts(settings, context, options, os.environ)
    findings += [_job(context), *_mode(mode), *_facts(facts)]
    document = {
        "ci": asdict(context) if context is not None else None,
        "way": {**asdict(mode), "costs": mode.costs},
        **asdict(facts),
    }
    return findings, document


def _settings(findings: list[Finding]) -> tuple[Settings, CiOptions]:
    """The project's settings; the defaults if there is no project, or if its settings are wrong."""
    from rondel.settings import CiOptions, Settings, find_root, load_ci_options, load_settings

    try:
        root = find_root(Path.cwd())
    except ConfigurationError as error:
        findings.append(Finding("note", "project", error.what))
        return Settings(root=Path.cwd()), CiOptions()
    try:
        return load_settings(root, {}, os.environ), load_ci_options(root, {}, os.environ)
    except ConfigurationError as error:
        findings.append(Finding("bad", "project", error.render()))
        return Settings(root=root), CiOptions()


def _probe(settings: Settings, machine: EngineCapabilities | None) -> Probe:
    """Look for what decides the execution mode, as a run does."""
    from rondel.engines.choice import choose_engine, find_real_cli, rondel_executable
    from rondel.engines.discovery import RUNNER_HOST, find_engine
    from rondel.engines.execution_mode import Probe

    try:
        choice: Any = choose_engine(settings, os.environ, rondel_executable())
    except (EngineUnavailable, ConfigurationError) as error:
        choice = error
    cli = find_real_cli(os.environ)
    reach = find_engine(os.environ) if cli is not None else None
    return Probe(
        choice=choice,
        cli=cli,
        reach=reach,
        silent=reach.unanswered() if reach is not None else "",
        named=os.environ.get(RUNNER_HOST, ""),
        asked=settings.sources.get("engine", "") if settings.engine != "auto" else "",
        namespaces=MODES.get(machine.mode, "") if machine is not None and machine.bwrap else "",
        forbidden=machine.namespaces if machine is not None else "",
        in_place=os.environ.get("RONDEL_ENGINE_IN_PLACE") != "never",
    )


def _job(context: CiContext | None) -> Finding:
    if context is None:
        return Finding("note", "ci", "no CI system was detected; this is what a run here would do")
    from rondel.ci.providers import provider_of

    parts = [provider_of(context).title]
    parts += [f"job {context.name}"] if context.name else []
    if context.merge_request is not None:
        parts.append(f"merge request {context.merge_request}")
    parts.append(f"branch {context.branch}" if context.branch else "no branch to commit to")
    if context.fork:
        parts.append("a fork's code: no secrets, nothing is pushed")
    return Finding("good", "ci", ", ".join(parts) + (f"\n{context.url}" if context.url else ""))


def _mode(mode: ExecutionMode) -> Iterator[Finding]:
    lines = [mode.name, *(f"because {each}" for each in mode.why)]
    lines += [f"it costs: {mode.costs}"] if mode.costs and not mode.trouble else []
    lines += [mode.trouble] if mode.trouble else []
    lines += [f"→ {mode.hint}"] if mode.hint else []
    level = "bad" if mode.trouble else "note" if mode.name == "in place" or mode.hint else "good"
    yield Finding(level, "mode", "\n".join(lines))  # type: ignore[arg-type]


def _facts(facts: JobFacts) -> Iterator[Finding]:
    for push in facts.pushes:
        text = f"to {push.where}: {push.why}" if push.does else f"no: {push.why}"
        yield Finding("bad" if push.wrong else "good" if push.does else "note", push.what, text)
    identity = facts.identity
    by = f"; started by {identity.started_by}" if identity.started_by else ""
    tokens = ", ".join(identity.tokens) or "none"
    yield Finding("good", "identity", f"commits as {identity.author}{by}; tokens: {tokens}")
    secrets = facts.secrets
    if secrets.missing:
        text = (
            f"not set: {', '.join(secrets.missing)}; set them, or remove them from `secrets` in [tool.rondel]"
        )
        yield Finding("bad", "secrets", text)
    if secrets.withheld:
        yield Finding("note", "secrets", f"withheld from this fork: {', '.join(secrets.withheld)}")
    yield Finding("good", "secrets", f"stages get: {', '.join(secrets.given) or 'none'}")
    if secrets.masked:
        yield Finding("good", "masked", ", ".join(secrets.masked))
