"""The champion's version: from the database file, from one request, from GitLab's log."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest
from gitlab_stub import TOKEN, GitlabStub

from rondel.errors import TrackingUnavailable
from rondel.registry import champion
from rondel.registry.alias_log import LOG_EXPERIMENT, AliasLogEntry
from rondel.registry.champion import champion_version, fetch_champion
from rondel.tracking.client import TrackingClient
from rondel.tracking.endpoint import parse_endpoint
from rondel.tracking.server_state import ServerFolder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with the only table of MLflow that Rondel reads."""
    path = ServerFolder.of(tmp_path).database
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE registered_model_aliases (alias TEXT, version INTEGER, name TEXT)")
        connection.execute("INSERT INTO registered_model_aliases VALUES ('champion', 3, 'm')")
        connection.commit()
    return path


def settle(path: Path) -> None:
    old = time.time() - 60
    os.utime(path, (old, old))


def test_no_database_means_no_champion(tmp_path: Path) -> None:
    assert champion_version(tmp_path, {}, "m") is None


def test_the_alias_is_read_from_the_file(tmp_path: Path, database: Path) -> None:
    assert champion_version(tmp_path, {}, "m") == "3"
    assert champion_version(tmp_path, {}, "other") is None
    assert champion_version(tmp_path, {}, "m", alias="challenger") is None


def test_an_unchanged_file_is_not_opened_again(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(database)
    assert champion_version(tmp_path, {}, "m") == "3"
    assert champion_version(tmp_path, {}, "none") is None
    monkeypatch.setattr(champion, "_read_version", lambda *_: pytest.fail("the database was opened"))
    assert champion_version(tmp_path, {}, "m") == "3"
    assert champion_version(tmp_path, {}, "none") is None


def test_a_changed_file_is_read_again_also_right_after_a_change(tmp_path: Path, database: Path) -> None:
    settle(database)
    assert champion_version(tmp_path, {}, "m") == "3"
    for version in ("4", "5"):
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("UPDATE registered_model_aliases SET version = ?", (int(version),))
            connection.commit()
        assert champion_version(tmp_path, {}, "m") == version


def test_a_database_without_tables_has_no_champion(tmp_path: Path) -> None:
    path = ServerFolder.of(tmp_path).database
    path.parent.mkdir(parents=True)
    sqlite3.connect(path).close()
    assert champion_version(tmp_path, {}, "m") is None


def test_a_damaged_database_is_reported_with_its_path(tmp_path: Path, database: Path) -> None:
    database.write_bytes(b"not a database" * 100)
    with pytest.raises(TrackingUnavailable, match=r"cannot read .*mlflow\.db"):
        champion_version(tmp_path, {}, "m")


def gitlab_environ(stub: GitlabStub) -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": stub.uri, "MLFLOW_TRACKING_TOKEN": TOKEN}


def test_gitlab_without_a_log_has_no_champion(tmp_path: Path, gitlab: GitlabStub) -> None:
    assert champion_version(tmp_path, gitlab_environ(gitlab), "m") is None


def test_the_log_defines_gitlabs_champion(tmp_path: Path, gitlab: GitlabStub) -> None:
    entry = AliasLogEntry(
        number=1,
        at="2026-11-23T20:00:00Z",
        who="ann",
        action="promote",
        alias="champion",
        old="",
        new="1.0.0",
    ).chained_to("0" * 64)
    gitlab.experiments[LOG_EXPERIMENT] = "1"
    gitlab.POST_runs_create(
        {"experiment_id": "1", "run_name": "m", "tags": [{"key": entry.tag, "value": entry.encode()}]}
    )
    gitlab.POST_registered_models_create({"name": "m"})
    gitlab.POST_model_versions_create(
        {
            "name": "m",
            "tags": [
                {"key": "gitlab.version", "value": "1.0.0"},
                # A long document continues in further tags.
                {"key": "rondel.metrics", "value": '{"roc_auc": 0.7, '},
                {"key": "rondel.metrics.1", "value": '"x": "y"}'},
            ],
        }
    )
    assert champion_version(tmp_path, gitlab_environ(gitlab), "m") == "1.0.0"

    async def main() -> None:
        async with TrackingClient(parse_endpoint(gitlab.uri, gitlab_environ(gitlab))) as client:
            found = await fetch_champion(client, "m")
            assert found is not None
            assert (found.version, found.metrics) == ("1.0.0", {"roc_auc": 0.7})

    anyio.run(main)


def test_a_forged_log_is_not_trusted(tmp_path: Path, gitlab: GitlabStub) -> None:
    entry = AliasLogEntry(
        number=1, at="", who="", action="", alias="champion", old="", new="9", hash="0" * 64
    )
    gitlab.experiments[LOG_EXPERIMENT] = "1"
    gitlab.POST_runs_create(
        {"experiment_id": "1", "run_name": "m", "tags": [{"key": entry.tag, "value": entry.encode()}]}
    )
    with pytest.raises(TrackingUnavailable, match="damaged"):
        champion_version(tmp_path, gitlab_environ(gitlab), "m")


def test_a_remote_server_that_refuses_is_reported(tmp_path: Path, gitlab: GitlabStub) -> None:
    with pytest.raises(TrackingUnavailable, match="401"):
        champion_version(tmp_path, {"MLFLOW_TRACKING_URI": gitlab.uri}, "m")
