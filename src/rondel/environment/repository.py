"""What a stage's container knows of the code that it runs: variables always, the repository on demand."""

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
"""MLflow's own: tags for every run that a program starts."""


def revision(run: Run, mlflow_run: MlflowRun | None = None) -> dict[str, str]:
    """The variables that say which code a stage runs. What is not known is not set.

    A program's first run of MLflow is the stage's own (``MLFLOW_RUN_ID``). Those that it
    starts after that are told their commit as well, and stand below the stage's.
    """
    found: dict[str, str] = {}
    if run.git_commit:
        found[COMMIT] = run.git_commit
        found[DIRTY] = "1" if run.git_dirty else "0"
    if run.git_branch:
        found[BRANCH] = run.git_branch
    tags = {
        "mlflow.source.git.commit": run.git_commit,
        "mlflow.source.git.branch": run.git_branch,
        "mlflow.source.git.repoURL": run.git_remote,
        "mlflow.parentRunId": mlflow_run.run_id if mlflow_run is not None else None,
        "rondel.run": run.id,
    }
    found[RUN_CONTEXT] = json.dumps({name: value for name, value in tags.items() if value})
    return found


def with_revision(container: dagger.Container, run: Run, mlflow_run: MlflowRun | None) -> dagger.Container:
    """The container with these variables. They are no part of a stage's key: the files are."""
    for name, value in revision(run, mlflow_run).items():
        container = container.with_env_variable(name, value)
    return container


def with_repository(
    container: dagger.Container, client: dagger.Client, repository: Repository
) -> dagger.Container:
    """The container with the repository in its workspace, for a stage that is declared with ``git=True``."""
    from rondel.git.repository import KEPT

    host = client.host()
    # Files that another git is just writing are none of history's.
    unfinished = ["objects/info/alternates", "**/*.lock", "**/tmp_obj_*", "**/tmp_pack_*"]
    git = host.directory(str(repository.folder), include=list(KEPT), exclude=unfinished)
    for place in repository.alternates:
        more = host.directory(str(place), exclude=["info/alternates", "**/tmp_obj_*", "**/tmp_pack_*"])
        git = git.with_directory("objects", more)
    # Where all refs are packed there is no folder of them, and git takes it for no repository.
    git = git.with_new_directory("refs/heads").with_new_directory("objects/info")
    git = git.with_new_file("HEAD", repository.head).with_new_file("config", repository.config)
    if repository.index is not None:
        git = git.with_file("index", host.file(str(repository.index)))
    return (
        container.with_directory(f"{WORK}/.git", git)
        # Its files belong to whoever they belonged to here.
        .with_env_variable("GIT_CONFIG_COUNT", "1")
        .with_env_variable("GIT_CONFIG_KEY_0", "safe.directory")
        .with_env_variable("GIT_CONFIG_VALUE_0", WORK)
    )


__all__ = ["BRANCH", "COMMIT", "DIRTY", "RUN_CONTEXT", "revision", "with_repository", "with_revision"]
