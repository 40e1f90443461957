"""``Jenkinsfile`` (declarative), from the pipeline's jobs.

Directives and their meaning: Jenkins' Pipeline Syntax reference. Only what
Jenkins' own Pipeline plugins bring is used; no other plugin is needed but
JUnit and, for ``agent { docker }``, Docker Pipeline.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rondel.settings.ci import CiOptions
    from rondel.wrappers.jobs import Job

REPORTS = ".rondel/reports"


def render(jobs: Sequence[Job], options: CiOptions) -> str:
    """The file's text: a stage per job; jobs that do not need each other run at once."""
    lines = [
        "pipeline {",
        f"    agent {_agent(options.image)}",
        "    options {",
        f"        disableConcurrentBuilds({_abort(jobs)})",
        f"        buildDiscarder(logRotator(daysToKeepStr: '{options.keep_days}'))",
        "    }",
    ]
    if any(job.scheduled for job in jobs):
        lines.append(f"    triggers {{ cron({_quoted(options.schedule)}) }}")
    lines.append("    stages {")
    for group in _waves(jobs):
        lines += _indented(_wave(group), 2)
    lines += ["    }", *_indented(_post(), 1), "}"]
    return "\n".join(lines)


def _agent(image: str) -> str:
    if not image:
        return "any"
    reference = f"${{env.{image.strip('${}')}}}" if image.startswith("$") else image
    return f'{{ docker {{ image "{reference}" }} }}'


def _abort(jobs: Sequence[Job]) -> str:
    """A newer build may end an older one, unless that could be in the middle of an effect."""
    return "" if any(job.effect for job in jobs) else "abortPrevious: true"


def _waves(jobs: Sequence[Job]) -> list[list[Job]]:
    levels: dict[str, int] = {}
    for job in jobs:
        levels[job.name] = 1 + max((levels[need] for need in job.needs), default=0)
    return [[job for job in jobs if levels[job.name] == level] for level in sorted(set(levels.values()))]


def _wave(jobs: Sequence[Job]) -> list[str]:
    if len(jobs) == 1:
        return _stage(jobs[0])
    inner = [line for job in jobs for line in _stage(job)]
    title = _quoted(" and ".join(job.name for job in jobs))
    return [f"stage({title}) {{", "    parallel {", *_indented(inner, 2), "    }", "}"]


def _stage(job: Job) -> list[str]:
    body: list[str] = []
    if when := _when(job):
        body += when
    if job.minutes:
        body.append(f"options {{ timeout(time: {job.minutes}, unit: 'MINUTES') }}")
    command = job.command
    if job.approval:
        message = _quoted(f"{job.name}: approve {job.approval}?")
        body.append(f"input {{ message {message}; submitterParameter 'RONDEL_APPROVED_BY' }}")
        command += ' --approve-by "$RONDEL_APPROVED_BY"'
    body.append(f"steps {{ sh {_quoted(command)} }}")
    return [f"stage({_quoted(job.name)}) {{", *_indented(body, 1), "}"]


def _when(job: Job) -> list[str]:
    if job.scheduled:
        return ["when { triggeredBy 'TimerTrigger' }"]
    if not job.changes:
        return []
    conditions = [
        "triggeredBy 'UserIdCause'",
        "triggeredBy 'TimerTrigger'",
        "triggeredBy 'UpstreamCause'",
        # The first build of a branch has no change set to look at.
        "expression { currentBuild.previousBuild == null }",
        *(f"changeset {_quoted(path)}" for path in job.changes),
    ]
    before = ["beforeInput true"] if job.approval else []
    return ["when {", *_indented([*before, "anyOf {", *_indented(conditions, 1), "}"], 1), "}"]


def _post() -> list[str]:
    reports = [
        f"junit testResults: '{REPORTS}/junit.xml', allowEmptyResults: true",
        f"archiveArtifacts artifacts: '.rondel/runs/**, {REPORTS}/**', allowEmptyArchive: true",
        "script {",
        f"    if (fileExists('{REPORTS}/verdict.txt')) {{",
        f"        currentBuild.description = readFile('{REPORTS}/verdict.txt').trim()",
        "    }",
        "}",
    ]
    return ["post {", "    always {", *_indented(reports, 2), "    }", "}"]


def _indented(lines: Iterable[str], level: int) -> list[str]:
    return ["    " * level + line for line in lines]


def _quoted(text: str) -> str:
    """A Groovy string without interpolation."""
    if "'" not in text and "\\" not in text:
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("$", "\\$")
