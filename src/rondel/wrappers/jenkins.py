"""``Jenkinsfile`` (declarative), from the pipeline's jobs.

Directives and their meaning: Jenkins' Pipeline Syntax reference. Only what
Jenkins' own Pipeline plugins bring is used; no other plugin is needed but
JUnit and, for ``agent { docker }``, Docker Pipeline.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rondel.settings.ci import CiOptions
    from rondel.wrappers.jobs import Job

REPORTS = ".rondel/reports"
FUNCTION = "rondelReports"

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
"""A variable as GitLab and shells write it."""


def render(jobs: Sequence[Job], options: CiOptions, folder: str = "") -> tuple[str, str]:
    """The file's two regions, up to the stages and from them on; between them is room for a team's own.

    A Jenkinsfile is one pipeline: a project in a ``folder`` of its repository has its own there.

    A stage per job, one after the other, because they share a workspace.
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
    stages = [line for job in _patient(jobs) for line in _indented(_stage(job, options), 2)]
    return "\n".join(lines), "\n".join([*stages, "    }", "}"])


def _patient(jobs: Sequence[Job]) -> list[Job]:
    """The jobs in an order in which nothing waits for a person that does not need to."""
    behind: set[str] = set()
    for job in jobs:
        if job.approval or behind & set(job.needs):
            behind.add(job.name)
    return sorted(jobs, key=lambda job: job.name in behind)


def _function(jobs: Sequence[Job], base: str) -> list[str]:
    """What is done after each stage, whatever its end; a stage's own line stays its work."""
    results = {path for job in jobs for path in job.results}
    # Ant's patterns: a folder is what is in it.
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
    """A newer build may end an older one, unless that could be in the middle of an effect."""
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
        # It counts while people think, too; after two days nobody will.
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
        # What somebody has to approve is for what was merged; outside of multibranch there is no name.
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
    """Whether what came with the build before this one is still to be done, in Groovy.

    A change set is what is new since that build; the first one of a branch has
    none. Whoever is asked and says no aborts the build, and is not asked again.
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
