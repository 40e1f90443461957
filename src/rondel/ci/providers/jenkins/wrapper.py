"""Writes a declarative ``Jenkinsfile`` from the pipeline's jobs.

Directives: https://www.jenkins.io/doc/book/pipeline/syntax/. The file needs
only Jenkins' own Pipeline plugins, JUnit and, for ``agent { docker }``, Docker
Pipeline.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rondel.ci.wrappers.jobs import Job
    from rondel.settings import CiOptions

REPORTS = ".rondel/reports"
FUNCTION = "rondelReports"

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
"""A variable in the syntax of GitLab and shells."""


def render(jobs: Sequence[Job], options: CiOptions, folder: str = "") -> tuple[str, str]:
    """The file's two regions: up to the stages, and from there to the end. A team adds its own between them.

    A Jenkinsfile is one pipeline, so a project in a ``folder`` of its repository
    has its own file there. Jobs become stages that run one after the other,
    because they share a workspace.
    """
    lines = [
        *_function(jobs, f"{folder}/" if folder else ""),
        "",
        "pipeline {",
        f"    agent {options.agent.strip() or _agent(options.image)}",
        "    options {",
        f"        disableConcurrentBuilds({_abort(jobs)})",
        f"        buildDiscarder(logRotator(daysToKeepStr: '{options.keep_days}'))",
        "    }",
    ]
    if any(job.scheduled for job in jobs):
        lines.append(f"    triggers {{ cron({_quoted(options.schedule)}) }}")
    if options.secrets:
        lines += ["    environment {", *(f"        {_credential(name)}" for name in options.secrets), "    }"]
    lines.append("    stages {")
    stages = [line for job in _approvals_last(jobs) for line in _indented(_stage(job, options), 2)]
    return "\n".join(lines), "\n".join([*stages, "    }", "}"])


def _approvals_last(jobs: Sequence[Job]) -> list[Job]:
    """The jobs in an order in which only those wait for a person that need an approval."""
    behind: set[str] = set()
    for job in jobs:
        if job.approval or behind & set(job.needs):
            behind.add(job.name)
    return sorted(jobs, key=lambda job: job.name in behind)


def _function(jobs: Sequence[Job], base: str) -> list[str]:
    """The function that each stage calls at its end, after success and failure."""
    results = {path for job in jobs for path in job.results}
    # In Ant's patterns a folder matches only with `/**`.
    folders = {f"{path}/**" for path in results if "." not in path.rpartition("/")[2]}
    paths = [f"{base}.rondel/runs/**", f"{base}{REPORTS}/**", *sorted(results | folders)]
    verdict = _quoted(f"{base}{REPORTS}/verdict.txt")
    body = [
        f"junit testResults: {_quoted(f'{base}{REPORTS}/junit.xml')}, allowEmptyResults: true",
        "archiveArtifacts allowEmptyArchive: true, artifacts: [",
        *(f"    {_quoted(path)}," for path in paths),
        "].join(',')",
        f"if (fileExists({verdict})) {{",
        f"    currentBuild.description = readFile({verdict}).trim()",
        "}",
    ]
    return [f"void {FUNCTION}() {{", *_indented(body, 1), "}"]


def _credential(name: str) -> str:
    """A secret text whose ID in Jenkins is the variable's name."""
    return f"{name} = credentials({_quoted(name)})"


def _agent(image: str) -> str:
    if not image:
        return "any"
    plain = image.replace("\\", "\\\\").replace('"', '\\"')
    reference = _VARIABLE.sub(lambda found: f"${{env.{found[1] or found[2]}}}", plain)
    return f'{{ docker {{ image "{reference}" }} }}'


def _abort(jobs: Sequence[Job]) -> str:
    """A newer build aborts an older one, unless that one may be in the middle of an effect."""
    return "" if any(job.effect for job in jobs) else "abortPrevious: true"


def _stage(job: Job, options: CiOptions) -> list[str]:
    body: list[str] = []
    if when := _when(job, options):
        body += when
    body += _options(job, options)
    command = job.command
    if job.approval:
        message = _quoted(f"{job.name}: approve {job.approval}?")
        body.append(f"input {{ message {message}; submitterParameter 'RONDEL_APPROVED_BY' }}")
        command += ' --approve-by "$RONDEL_APPROVED_BY"'
    body.append(f"steps {{ sh {_quoted(command)} }}")
    body.append(f"post {{ always {{ script {{ {FUNCTION}() }} }} }}")
    return [f"stage({_quoted(job.name)}) {{", *_indented(body, 1), "}"]


def _options(job: Job, options: CiOptions) -> list[str]:
    found = []
    if job.approval:
        # The time limit includes the wait for the approval.
        found.append("timeout(time: 2, unit: 'DAYS')")
    elif job.minutes:
        found.append(f"timeout(time: {job.minutes}, unit: 'MINUTES')")
    if job.resource and options.lock:
        found.append(f"lock(resource: {_quoted(job.resource)})")
    return [f"options {{ {'; '.join(found)} }}"] if found else []


def _when(job: Job, options: CiOptions) -> list[str]:
    if job.scheduled:
        return ["when { triggeredBy 'TimerTrigger' }"]
    lines = []
    if job.approval:
        # Approvals are for merged code. Only multibranch projects have a BRANCH_NAME.
        branch = _quoted(options.branch)
        test = f"env.BRANCH_NAME == null || env.BRANCH_NAME == {branch}"
        lines += ["beforeInput true", f"expression {{ {test} }}"]
    if job.changes:
        conditions = [
            "triggeredBy 'UserIdCause'",
            "triggeredBy 'TimerTrigger'",
            "triggeredBy 'UpstreamCause'",
            f"expression {{ {_undone(job)} }}",
            *(f"changeset {_quoted(path)}" for path in job.changes),
        ]
        lines += ["anyOf {", *_indented(conditions, 1), "}"]
    return ["when {", *_indented(lines, 1), "}"] if lines else []


def _undone(job: Job) -> str:
    """A Groovy condition: the changes of the build before this one are not done yet.

    A change set has what is new since that build; the first build of a branch has
    none. A person who declines an approval aborts the build; don't ask again.
    """
    before = "currentBuild.previousBuild?.result"
    return f"!['SUCCESS', 'ABORTED'].contains({before})" if job.approval else f"{before} != 'SUCCESS'"


def _indented(lines: Iterable[str], level: int) -> list[str]:
    return ["    " * level + line if line else line for line in lines]


def _quoted(text: str) -> str:
    """A Groovy string without interpolation."""
    if "'" not in text and "\\" not in text:
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("$", "\\$")
