"""``.gitlab-ci.yml``, from the pipeline's jobs.

Keywords and their meaning: GitLab's CI/CD YAML syntax reference. Long lists
of rules and artifacts stand once, in a hidden job, so that each visible job
is its needs and its one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from rondel.errors import ConfigurationError
from rondel.wrappers.jobs import levels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.settings.ci import CiOptions
    from rondel.wrappers.jobs import Job

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


def render(jobs: Sequence[Job], options: CiOptions) -> tuple[str]:
    """The file's one region: one job each, in stages by how far they are from the start.

    Raises ConfigurationError for a stage whose name means something else in GitLab.
    """
    reserved = next((job.name for job in jobs if job.name in RESERVED), None)
    if reserved is not None:
        raise ConfigurationError(
            f"the stage {reserved!r} cannot be a job of GitLab: the name means something else there",
            hint="call the stage otherwise",
        )
    levels = levels_of(jobs)
    document: dict[str, Any] = {"workflow": _workflow()} if options.workflow else {}
    document |= {
        "stages": list(dict.fromkeys([*options.stages, *(_stage(levels[job.name]) for job in jobs)])),
        ".rondel": _shared(jobs, options),
    }
    document |= {job.name: _job(job, levels[job.name]) for job in jobs}
    parts = [
        yaml.dump({key: value}, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
        for key, value in document.items()
    ]
    return ("\n".join([*_secrets(options), *parts]),)


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """The base class's way, never without indentation."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """No anchors: equal lists are written out."""
        return True


def _stage(level: int) -> str:
    return f"step-{level}"


def _secrets(options: CiOptions) -> list[str]:
    """Secrets have no place in the file; their names have, for who sets the project up."""
    if not options.secrets:
        return []
    return [f"# Masked and protected variables of the project: {', '.join(options.secrets)}"]


def _workflow() -> dict[str, Any]:
    """A push to a branch with an open merge request has that one's pipeline, not its own besides.

    What is started by hand, by schedule or by a trigger runs all the same.
    """
    return {
        "rules": [
            {"if": MERGE_REQUEST},
            {"if": TWICE, "when": "never"},
            {"if": "$CI_COMMIT_BRANCH"},
            {"if": "$CI_COMMIT_TAG"},
        ]
    }


def _shared(jobs: Sequence[Job], options: CiOptions) -> dict[str, Any]:
    image = {"image": options.image} if options.image else {}
    results = sorted({path for job in jobs for path in job.results})
    kept = sorted({path for job in jobs for path in job.kept})
    return {
        **image,
        "interruptible": True,
        # Only the runner's own troubles: a stage's retries are the pipeline's business.
        "retry": {"max": 1, "when": ["runner_system_failure"]},
        "cache": {"key": "rondel-$CI_COMMIT_REF_SLUG", "paths": kept, "when": "always"},
        "artifacts": {
            "when": "always",
            "expire_in": f"{options.keep_days} days",
            "paths": [".rondel/runs/", f"{REPORTS}/", *results],
            "reports": {
                "junit": f"{REPORTS}/junit.xml",
                "metrics": f"{REPORTS}/metrics.txt",
                "dotenv": f"{REPORTS}/outputs.env",
            },
        },
    }


def _job(job: Job, level: int) -> dict[str, Any]:
    written: dict[str, Any] = {"extends": ".rondel", "stage": _stage(level)}
    # A job that its rules left out is no reason to refuse the whole pipeline.
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
    # What somebody has to approve is for what was merged.
    first: list[dict[str, Any]] = [{"if": ELSEWHERE, "when": "never"}] if job.approval else []
    start: dict[str, Any] = {"when": "manual"} if job.approval else {}
    changed: dict[str, Any] = {"changes": list(job.changes)} if job.changes else {}
    return [*first, {"if": BY_HAND, **start}, {**changed, **start} or {"when": "on_success"}]
