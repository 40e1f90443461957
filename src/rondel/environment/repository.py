"""Adds git variables to every stage's container, and the repository itself to stages with ``git=True``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rondel.environment import WORK

if TYPE_CHECKING:
    import dagger

    from rondel.git.repository import Repository
    from rondel.record import MlflowRun, Run

COMMIT = "RONDEL_GIT_COMMIT"
BRANCH = "RONDEL_GIT_BRANCH"
DIRTY = "RONDEL_GIT_DIRTY"
RUN_CONTEXT = "MLFLOW_RUN_CONTEXT"
"""A variable of MLflow with tags for every run that a program starts."""


def git_variables(run: Run, mlflow_run: MlflowRun | None = None) -> dict[str, str]:
    """The variables about the commit that a stage runs, as far as known.

    A program's first MLflow run is the stage's (``MLFLOW_RUN_ID``). Later runs of the same program get
    the commit as tags, and the stage's run as their parent.
    """
    variables: dict[str, str] = {}
    if run.git_commit:
        variables[COMMIT] = run.git_commit
        variables[DIRTY] = "1" if run.git_dirty else "0"
    if run.git_branch:
        variables[BRANCH] = run.git_branch
    tags = {
        "mlflow.source.git.commit": run.git_commit,
        "mlflow.source.git.branch": run.git_branch,
        "mlflow.source.git.repoURL": run.git_remote,
        "mlflow.parentRunId": mlflow_run.run_id if mlflow_run is not None else None,
        "rondel.run": run.id,
    }
    variables[RUN_CONTEXT] = json.dumps({name: value for name, value in tags.items() if value})
    return variables


def with_git_variables(
    container: dagger.Container, run: Run, mlflow_run: MlflowRun | None
) -> dagger.Container:
    """The container with these variables. They are not part of a stage's key, but the files are."""
    for name, value in git_variables(run, mlflow_run).items():
        container = container.with_env_variable(name, value)
    return container


def with_repository(
    container: dagger.Container, client: dagger.Client, repository: Repository
) -> dagger.Container:
    """The container with the repository in its workspace, for a stage with ``git=True``."""
    from rondel.git.repository import KEPT

    host = client.host()
    # Skip temporary files that another git process is writing.
    unfinished = ["objects/info/alternates", "**/*.lock", "**/tmp_obj_*", "**/tmp_pack_*"]
    git = host.directory(str(repository.folder), include=list(KEPT), exclude=unfinished)
    for place in repository.alternates:
        more = host.directory(str(place), exclude=["info/alternates", "**/tmp_obj_*", "**/tmp_pack_*"])
        git = git.with_directory("objects", more)
    # If all refs are packed, refs/heads is missing, and git would not recognize the repository.
    git = git.with_new_directory("refs/heads").with_new_directory("objects/info")
    git = git.with_new_file("HEAD", repository.head).with_new_file("config", repository.config)
    if repository.index is not None:
        git = git.with_file("index", host.file(str(repository.index)))
    return (
        container.with_directory(f"{WORK}/.git", git)
        # The files keep their owner, and git refuses a repository of another user.
        .with_env_variable("GIT_CONFIG_COUNT", "1")
        .with_env_variable("GIT_CONFIG_KEY_0", "safe.directory")
        .with_env_variable("GIT_CONFIG_VALUE_0", WORK)
    )


__all__ = [
    "BRANCH",
    "COMMIT",
    "DIRTY",
    "RUN_CONTEXT",
    "git_variables",
    "with_git_variables",
    "with_repository",
]
