"""Facts about the machine, the CI job and the environment that a capsule holds."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import rondel
from rondel.record import CiJob, Host

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ALLOWED = (
    "CI",
    "LANG",
    "LC_ALL",
    "MLFLOW_EXPERIMENT_NAME",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
    "SOURCE_DATE_EPOCH",
    "TZ",
)
"""Variables that results can depend on and that never hold secrets; a project names more."""


def allowed_environment(environ: Mapping[str, str], extra: Iterable[str]) -> dict[str, str]:
    """The variables that may be recorded."""
    return {name: environ[name] for name in sorted({*ALLOWED, *extra}) if name in environ}


def host() -> Host:
    """The machine that this process runs on."""
    uname = os.uname()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = 0
    return Host(
        system=f"{uname.sysname} {uname.release}",
        machine=uname.machine,
        python=platform.python_version(),
        distribution=_distribution(),
        cpus=processors(),
        memory_bytes=memory,
        rondel=rondel.__version__,
    )


def processors() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0)) or 1
    except AttributeError:
        return os.cpu_count() or 1


def _distribution() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return release.get("PRETTY_NAME", release.get("ID", ""))


def ci_job(environ: Mapping[str, str]) -> CiJob | None:
    """The CI job that this process is part of; None on a laptop."""
    if environ.get("GITLAB_CI"):
        return CiJob(
            provider="gitlab",
            url=environ.get("CI_JOB_URL"),
            id=environ.get("CI_JOB_ID"),
            name=environ.get("CI_JOB_NAME"),
        )
    if environ.get("JENKINS_URL"):
        return CiJob(
            provider="jenkins",
            url=environ.get("BUILD_URL"),
            id=environ.get("BUILD_ID"),
            name=environ.get("JOB_NAME"),
        )
    if environ.get("GITHUB_ACTIONS"):
        return CiJob(provider="github", id=environ.get("GITHUB_RUN_ID"), name=environ.get("GITHUB_JOB"))
    if environ.get("CI"):
        return CiJob(provider="other")
    return None
