"""The project of the lineage cases, after one run of everything."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from lineage.project import STAGES, Project, make_project, states

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, team_server: str) -> Project:
    """The project after one run of everything, committed."""
    project = make_project(tmp_path_factory.mktemp("lineage") / "made", {"MLFLOW_TRACKING_URI": team_server})
    project.run()
    assert states(project) == dict.fromkeys(STAGES, "ran")
    assert project.metrics() == project.truth()
    project.git("add", "-A")
    project.git("commit", "-qm", "results")
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    root = shutil.copytree(made.root, tmp_path / "project", symlinks=True)
    return Project(root, dict(made.environ))
