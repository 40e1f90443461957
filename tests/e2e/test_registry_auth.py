"""The registry behind MLflow's own log-in: a real server with ``--app-name basic-auth``."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import anyio
import pytest

from rondel.errors import TrackingUnavailable
from rondel.registry.aliases import set_alias
from rondel.registry.backends import registry_of
from rondel.registry.champion import champion_version, fetch_champion
from rondel.registry.lineage import Lineage
from rondel.registry.register import ModelSource, register
from rondel.tracking import TrackingClient
from rondel.tracking.endpoint import connection_to, parse_endpoint
from rondel.tracking.server_state import ServerFolder
from rondel.tracking.supervisor import server_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "ann", "a long pass phrase"


@pytest.fixture(autouse=True)
def shorter_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine nobody is a second late."""
    monkeypatch.setattr(sys.modules["rondel.registry.aliases"], "SETTLE_SECONDS", 0.2)


def answers(port: int) -> bool:
    """Whether the server answers anything: without a password that is 401."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/version", timeout=2).close()
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("auth")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = root / "auth.ini"
    config.write_text(
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = sqlite:///{root}/auth.db\n"
        f"admin_username = {USER}\n"
        f"admin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    command = [
        sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{root}/mlflow.db", "--artifacts-destination", str(root / "artifacts"),
    ]  # fmt: skip
    environment = {
        **server_environment(os.environ, ServerFolder.of(root)),
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key of this test",
    }
    log = (root / "server.log").open("w")
    server = subprocess.Popen(
        command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert server.poll() is None, (root / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (root / "server.log").read_text()[-2000:]
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait()
        log.close()


def credentials(user: str, password: str) -> dict[str, str]:
    return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}


def test_a_version_is_registered_and_promoted_as_a_user(uri: str, tmp_path: Path) -> None:
    environ = {"MLFLOW_TRACKING_URI": uri, **credentials(USER, PASSWORD)}

    async def main() -> None:
        async with TrackingClient(parse_endpoint(uri, environ)) as client:
            await client.probe()
            store = registry_of(client)
            experiment = await client.ensure_experiment("flights")
            run = await client.create_run(experiment, name="train", tags={})
            assert await client.log_artifact(run, "gate/verdict.json", b"{}")
            assert await client.read_artifact(run, "gate/verdict.json") == b"{}"
            source = ModelSource(uri=run.artifact_uri, run_id=run.run_id)
            lineage = Lineage(run="r1", metrics={"roc_auc": 0.7}, gate="passed")
            version = await register(store, "flights", source, lineage, who=USER)
            await set_alias(
                store, "flights", alias="champion", new=version.version, who=USER, action="promote"
            )
            champion = await fetch_champion(client, "flights")
            assert champion is not None
            assert (champion.version, champion.metrics) == (version.version, {"roc_auc": 0.7})

    anyio.run(main)
    assert champion_version(tmp_path, environ, "flights") == "1"


@pytest.mark.parametrize("user", [{}, credentials(USER, "wrong"), credentials("nobody", PASSWORD)])
def test_without_the_right_password_nothing_is_read_and_it_says_what_to_set(
    uri: str, tmp_path: Path, user: dict[str, str]
) -> None:
    with pytest.raises(TrackingUnavailable) as caught:
        champion_version(tmp_path, {"MLFLOW_TRACKING_URI": uri, **user}, "flights")
    told = caught.value.render()
    assert "401" in told
    assert "MLFLOW_TRACKING_USERNAME" in told
    assert PASSWORD not in told


def test_containers_get_the_password_as_a_secret_only(uri: str) -> None:
    found = connection_to(parse_endpoint(uri, credentials(USER, PASSWORD)), experiment="flights")
    assert found.secrets["MLFLOW_TRACKING_PASSWORD"] == PASSWORD
    assert PASSWORD not in str(found.env)
    assert PASSWORD not in repr(found)
