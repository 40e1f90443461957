"""Whoever reaches the local MLflow server, as every container and every local user does, gets nothing from it."""

from __future__ import annotations

import base64
import sqlite3
import stat
from typing import TYPE_CHECKING

import httpx
import pytest
from registry_project import ENVIRON

from rondel.files import landlock
from rondel.tracking import open_page, server
from rondel.tracking.login import OPEN, USER
from rondel.tracking.server_state import ServerFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rondel.tracking import Endpoint

API = "/api/2.0/mlflow"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("login")


@pytest.fixture(scope="module")
def endpoint(root: Path) -> Iterator[Endpoint]:
    lease = server.acquire(root, ENVIRON)
    yield lease.ready_now()
    lease.release()
    server.stop(root)


def client(endpoint: Endpoint, token: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=endpoint.uri, headers=headers, trust_env=False, timeout=30)


def new_run(http: httpx.Client, experiment: str = "0") -> str:
    run = http.post(f"{API}/runs/create", json={"experiment_id": experiment})
    assert run.status_code == 200, run.text
    return str(run.json()["run"]["info"]["run_id"])


@pytest.mark.parametrize("token", [None, "", "wrong"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", f"{API}/experiments/search"),
        ("POST", f"{API}/runs/create"),
        ("GET", "/get-artifact?run_uuid=x&path=y"),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=x&path=y"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts"),
        ("GET", "/graphql"),
        ("GET", "/static-files/x"),
        ("POST", OPEN),
    ],
)
def test_without_the_token_nothing_is_answered(
    endpoint: Endpoint, token: str | None, method: str, path: str
) -> None:
    with client(endpoint, token) as http:
        assert http.request(method, path).status_code == 401


def test_the_token_is_for_this_user_only(root: Path, endpoint: Endpoint) -> None:
    folder = ServerFolder.of(root)
    page = open_page(root, endpoint)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    for path in (folder.login, page):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert str(endpoint.token) not in repr(endpoint)
    assert str(endpoint.token) not in folder.log.read_text()
    for process in folder.path.glob("*.json"):
        assert str(endpoint.token) not in process.read_text()


def test_a_browser_signs_in_once(root: Path, endpoint: Endpoint) -> None:
    assert str(endpoint.token) in open_page(root, endpoint).read_text()
    with client(endpoint, None) as http:
        answer = http.post(OPEN, data={"token": str(endpoint.token)})
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert str(endpoint.token) not in cookie
        assert http.get("/").status_code == 200
        assert http.post(f"{API}/experiments/search", json={"max_results": 1}).status_code == 200
    with client(endpoint, None) as http:
        page = http.get("/", headers={"Accept": "text/html"})
        assert page.status_code == 401
        assert "rondel ui" in page.text
        assert "www-authenticate" not in page.headers
        assert "Basic" in http.get("/").headers["www-authenticate"]
    basic = base64.b64encode(f"{USER}:{endpoint.token}".encode()).decode()
    with client(endpoint, None) as http:
        assert http.get("/", headers={"Authorization": f"Basic {basic}"}).status_code == 200
        assert http.get("/", headers={"Authorization": "Basic !"}).status_code == 401


def test_a_pure_stage_logs_runs_and_changes_no_registered_model(endpoint: Endpoint) -> None:
    with client(endpoint, endpoint.token) as owner, client(endpoint, endpoint.stage_token) as stage:
        run = new_run(stage)
        metric = {"run_id": run, "key": "auc", "value": 0.5, "timestamp": 1}
        assert stage.post(f"{API}/runs/log-metric", json=metric).status_code == 200
        assert stage.post(f"{API}/registered-models/create", json={"name": "m"}).status_code == 200
        version = {"name": "m", "source": f"runs:/{run}/model", "run_id": run}
        assert stage.post(f"{API}/model-versions/create", json=version).status_code == 200
        alias = {"name": "m", "alias": "champion", "version": "1"}
        tag = {"name": "m", "key": "rondel.log.000001", "value": "x"}
        refused = [
            stage.post(f"{API}/registered-models/alias", json=alias),
            stage.post("/ajax-api/2.0/mlflow/registered-models/alias", json=alias),
            stage.post(f"/{API}/registered-models/alias", json=alias),
            stage.post(f"{API}/registered-models/set-tag", json=tag),
            stage.post(f"{API}/model-versions/set-tag", json={**tag, "version": "1"}),
            stage.request("DELETE", f"{API}/registered-models/delete", json={"name": "m"}),
            stage.post(f"{API}/runs/delete", json={"run_id": run}),
        ]
        assert [answer.status_code for answer in refused] == [403] * len(refused)
        assert owner.post(f"{API}/registered-models/alias", json=alias).status_code == 200
        found = stage.get(f"{API}/registered-models/alias", params={"name": "m", "alias": "champion"})
        assert found.json()["model_version"]["version"] == "1"


@pytest.mark.parametrize(
    "place", ["file:///tmp/x", "/tmp/x", "s3://bucket/x", "dbfs:/x", "mlflow-artifactsx:/"]
)
def test_an_experiment_cannot_choose_where_artifacts_are(endpoint: Endpoint, place: str) -> None:
    with client(endpoint, endpoint.token) as http:
        body = {"name": f"at {place}", "artifact_location": place}
        for api in (API, "/ajax-api/2.0/mlflow"):
            answer = http.post(f"{api}/experiments/create", json=body)
            assert answer.status_code == 400
            assert "stores artifacts itself" in answer.text


def test_the_server_reaches_no_file_outside_of_its_folder(
    root: Path, endpoint: Endpoint, tmp_path: Path
) -> None:
    """Not even with an artifact root elsewhere in its database, which its interface refuses."""
    if landlock.version() < landlock.PATHS_SINCE:
        pytest.skip("this kernel has no Landlock, so SECURITY.md promises less")
    with client(endpoint, endpoint.token) as http:
        experiment = http.post(f"{API}/experiments/create", json={"name": "elsewhere"}).json()[
            "experiment_id"
        ]
        with sqlite3.connect(ServerFolder.of(root).database) as database:
            change = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?"
            database.execute(change, (f"file://{tmp_path}", experiment))
        run = new_run(http, experiment)
        artifacts = tmp_path / run / "artifacts"
        artifacts.mkdir(parents=True)
        (artifacts / "key").write_text("canary")
        read = http.get("/get-artifact", params={"run_uuid": run, "path": "key"})
        assert read.status_code >= 400
        assert "canary" not in read.text
        place = {"run_uuid": run, "path": "new"}
        write = http.post("/ajax-api/2.0/mlflow/upload-artifact", params=place, content=b"x")
        assert write.status_code >= 400
    assert [path.name for path in artifacts.iterdir()] == ["key"]
