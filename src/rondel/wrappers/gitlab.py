"""``.gitlab-ci.yml``, from the pipeline's jobs.

Keywords and their meaning: GitLab's CI/CD YAML syntax reference. Long lists
of rules and artifacts stand once, in a hidden job, so that each visible job
is its needs and its one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.settings.ci import CiOptions
    from rondel.wrappers.jobs import Job

REPORTS = ".rondel/reports"
BY_HAND = "$CI_PIPELINE_SOURCE =~ /^(web|trigger|api|pipeline|schedule)$/"
SCHEDULE = '$CI_PIPELINE_SOURCE == "schedule"'


def render(jobs: Sequence[Job], options: CiOptions) -> str:
    """The file's text: one job each, in stages by how far they are from the start."""
    levels = _levels(jobs)
    document: dict[str, Any] = {
        "stages": list(dict.fromkeys(_stage(levels[job.name]) for job in jobs)),
        ".rondel": _shared(options),
    }
    document |= {job.name: _job(job, levels[job.name]) for job in jobs}
    parts = [
        yaml.dump({key: value}, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
        for key, value in document.items()
    ]
    return "\n".join(parts)


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """The base class's way, never without indentation."""
        super().increase_indent(flow, False)


def _levels(jobs: Sequence[Job]) -> dict[str, int]:
    levels: dict[str, int] = {}
    for job in jobs:
        levels[job.name] = 1 + max((levels[need] for need in job.needs), default=0)
    return levels


def _stage(level: int) -> str:
    return f"step-{level}"


def _shared(options: CiOptions) -> dict[str, Any]:
    image = {"image": options.image} if options.image else {}
    return {
        **image,
        "interruptible": True,
        "artifacts": {
            "when": "always",
            "expire_in": f"{options.keep_days} days",
            "paths": [".rondel/runs/", f"{REPORTS}/", "dvc.lock", "metrics.json"],
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
    if job.resource:
        written["resource_group"] = job.resource
    if job.approval:
        written["environment"] = {"name": job.approval, "action": "prepare"}
    if job.minutes:
        written["timeout"] = f"{job.minutes} minutes"
    written["rules"] = _rules(job)
    written["script"] = job.command + (' --approve-by "$GITLAB_USER_LOGIN"' if job.approval else "")
    return written


def _rules(job: Job) -> list[dict[str, Any]]:
    if job.scheduled:
        return [{"if": SCHEDULE}]
    start: dict[str, Any] = {"when": "manual"} if job.approval else {}
    changed: dict[str, Any] = {"changes": list(job.changes)} if job.changes else {}
    return [{"if": BY_HAND, **start}, {**changed, **start} or {"when": "on_success"}]
