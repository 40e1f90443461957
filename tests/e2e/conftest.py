"""What the tests of whole pipelines share, and the engine that they run on.

That is the embedded one, or a Dagger engine where `_EXPERIMENTAL_DAGGER_RUNNER_HOST`
names one and its CLI is on the PATH. Tests marked `embedded` are left out then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ci_project
import pytest
from engines import on_dagger
from mlflow_server import mlflow_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def team_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a real MLflow server that outlives the jobs, as a team has one."""
    with mlflow_server(tmp_path_factory.mktemp("team-server")) as uri:
        yield uri


@pytest.fixture
def team_tracking(team_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs log to the team's server; otherwise each starts one of its own, which takes most of a small job's time."""
    monkeypatch.setitem(ci_project.TRACKING, "MLFLOW_TRACKING_URI", team_server)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if on_dagger():
        for item in items:
            if item.get_closest_marker("embedded"):
                item.add_marker(pytest.mark.skip(reason="shows what only the embedded engine does"))
