"""Writes ``.gitlab-ci.yml`` from the pipeline's jobs.

Keywords: https://docs.gitlab.com/ci/yaml/. Settings that all jobs share are in
one hidden job, so a visible job has only its needs, its rules and its command.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from rondel.ci.wrappers.jobs import levels_of
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.ci.wrappers.jobs import Job
    from rondel.settings import CiOptions

RESERVED = frozenset(
    {
        *("image", "services", "stages", "types", "before_script", "after_script", "variables", "cache"),
        *("include", "default", "workflow", "spec", "true", "false", "nil", "pages"),
    }
)
"""https://docs.gitlab.com/ci/jobs/#job-names; ``pages`` would publish a site."""

REPORTS = ".rondel/reports"
BY_HAND = "$CI_PIPELINE_SOURCE =~ /^(web|trigger|api|pipeline|schedule)$/"
SCHEDULE = '$CI_PIPELINE_SOURCE == "schedule"'
ELSEWHERE = "$CI_COMMIT_BRANCH != $CI_DEFAULT_BRANCH"
TWICE = '$CI_COMMIT_BRANCH && $CI_OPEN_MERGE_REQUESTS && $CI_PIPELINE_SOURCE == "push"'
MERGE_REQUEST = '$CI_PIPELINE_SOURCE == "merge_request_event"'


def render(jobs: Sequence[Job], options: CiOptions, folder: str = "") -> tuple[str]:
    """The one region of the file. A job's stage is its distance from the start.

    A project in a ``folder`` shares the file with others, so its region has no
    global keywords: its jobs are in one stage, and their rules replace ``workflow``.

    Raises ConfigurationError for a stage whose name is a keyword of GitLab.
    """
    reserved = next((job.name for job in jobs if job.name in RESERVED), None)
    if reserved is not None:
        raise ConfigurationError(
            f"the stage {reserved!r} cannot be a job of GitLab: the name is a keyword there",
            hint="rename the stage",
        )
    shared = f".rondel:{folder}" if folder else ".rondel"
    document: dict[str, Any] = {}
    if folder:
        stages = dict.fromkeys((job.name for job in jobs), options.stages[0] if options.stages else "test")
        first = [{"if": TWICE, "when": "never"}] if options.workflow else []
    else:
        levels = levels_of(jobs)
        stages, first = {job.name: f"step-{levels[job.name]}" for job in jobs}, []
        document = {"workflow": _workflow()} if options.workflow else {}
        document["stages"] = list(dict.fromkeys([*options.stages, *stages.values()]))
    document[shared] = _shared(jobs, options, folder)
    for job in jobs:
        written = _job(job, stages[job.name])
        written["rules"] = [*first, *written["rules"]]
        document[job.name] = {"extends": shared, **written}
    parts = [
        yaml.dump({key: value}, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
        for key, value in document.items()
    ]
    return ("\n".join([*_secrets(options), *parts]),)


def check_stages(text: str, options: CiOptions) -> None:
    """Raise ConfigurationError if a file of several projects lists its stages without this project's."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    listed = next((value for key, value in root.value if key.value == "stages"), None) if root else None
    if listed is None:
        return
    names = [node.value for node in listed.value]
    mine = options.stages[0] if options.stages else "test"
    if mine not in names:
        raise ConfigurationError(
            f"the file lists its stages, and {mine!r} is not among them",
            hint="choose the stage for this project's jobs: "
            f"stages = [{json.dumps(names[0] if names else 'test')}] under [tool.rondel.ci]",
            place=f".gitlab-ci.yml:{listed.start_mark.line + 1}",
        )


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, as people do, and repeats equal lists instead of using anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Indent, always."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """No anchors."""
        return True


def _secrets(options: CiOptions) -> list[str]:
    """A comment with the names of the secrets, for the person who sets the project up."""
    if not options.secrets:
        return []
    return [f"# Masked and protected variables of the project: {', '.join(options.secrets)}"]


def _workflow() -> dict[str, Any]:
    """A push to a branch with an open merge request starts the merge request's pipeline only.

    Pipelines that are started by hand, by a schedule or by a trigger always run.
    """
    return {
        "rules": [
            {"if": MERGE_REQUEST},
            {"if": TWICE, "when": "never"},
            {"if": "$CI_COMMIT_BRANCH"},
            {"if": "$CI_COMMIT_TAG"},
        ]
    }


def _shared(jobs: Sequence[Job], options: CiOptions, folder: str) -> dict[str, Any]:
    base = f"{folder}/" if folder else ""
    key = f"rondel-{re.sub(r'[^A-Za-z0-9._-]+', '-', folder)}-" if folder else "rondel-"
    image = {"image": options.image} if options.image else {}
    results = sorted({path for job in jobs for path in job.results})
    kept = sorted({path for job in jobs for path in job.kept})
    return {
        **image,
        "interruptible": True,
        # Only failures of the runner: the pipeline itself retries stages.
        "retry": {"max": 1, "when": ["runner_system_failure"]},
        "cache": {"key": f"{key}$CI_COMMIT_REF_SLUG", "paths": kept, "when": "always"},
        "artifacts": {
            "when": "always",
            "expire_in": f"{options.keep_days} days",
            "paths": [f"{base}.rondel/runs/", f"{base}{REPORTS}/", *results],
            "reports": {
                "junit": f"{base}{REPORTS}/junit.xml",
                "metrics": f"{base}{REPORTS}/metrics.txt",
                "dotenv": f"{base}{REPORTS}/outputs.env",
            },
        },
    }


def _job(job: Job, stage: str) -> dict[str, Any]:
    written: dict[str, Any] = {"stage": stage}
    # Without `optional`, GitLab refuses the whole pipeline if rules leave out a needed job.
    written["needs"] = [{"job": need, "optional": True} for need in job.needs]
    if job.effect:
        written["interruptible"] = False
        written["retry"] = 0
    if job.resource:
        written["resource_group"] = job.resource
    if job.approval:
        written["environment"] = {"name": job.approval}
    if job.minutes:
        written["timeout"] = f"{job.minutes} minutes"
    written["rules"] = _rules(job)
    written["script"] = job.command + (' --approve-by "$GITLAB_USER_LOGIN"' if job.approval else "")
    return written


def _rules(job: Job) -> list[dict[str, Any]]:
    if job.scheduled:
        return [{"if": SCHEDULE}]
    # Approvals are for merged code.
    first: list[dict[str, Any]] = [{"if": ELSEWHERE, "when": "never"}] if job.approval else []
    start: dict[str, Any] = {"when": "manual"} if job.approval else {}
    changed: dict[str, Any] = {"changes": list(job.changes)} if job.changes else {}
    return [*first, {"if": BY_HAND, **start}, {**changed, **start} or {"when": "on_success"}]
