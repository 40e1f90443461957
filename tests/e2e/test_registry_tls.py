"""A whole release on an MLflow server behind TLS with a CA of the team's own, containers included."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import test_champion_again
from mlflow_server import mlflow_server
from small_project import environ
from tls import TlsProxy, certificate

from rondel.record import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.container

project = test_champion_again.project


@pytest.fixture
def tls(project: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a real server behind TLS, and the CA's file."""
    pem = certificate(tmp_path, ["mlflow"])
    with mlflow_server(tmp_path / "server") as uri:
        proxy = TlsProxy(pem, int(uri.rpartition(":")[2]))
        yield proxy.uri, str(pem)
        proxy.close()


def test_a_release_goes_through_a_server_whose_certificate_only_the_team_signs(
    project: Path, tls: tuple[str, str]
) -> None:
    uri, ca = tls

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        env = {**environ(), "MLFLOW_TRACKING_URI": uri, **more}
        return subprocess.run(
            words, cwd=project, env=env, capture_output=True, text=True, check=False, timeout=300
        )

    done = run("python", "ci/main.py", "release", "--approve-by", "ann")
    assert done.returncode == 22, done.stdout + done.stderr
    assert "cannot be verified" in done.stderr
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in done.stderr

    trusted = {"MLFLOW_TRACKING_SERVER_CERT_PATH": ca}
    done = run("python", "ci/main.py", "release", "--approve-by", "ann", **trusted)
    assert done.returncode == 0, done.stdout + done.stderr
    # The stage's own program, in its container, has logged the model there.
    assert load(project)[1].stage("train").state == "ran"
    for words, said in (
        (("models", "show", "toy@champion"), "toy version 1"),
        (("models", "verify", "toy@champion"), "is unchanged"),
        (("promote", "toy/1", "--to", "canary"), "version 1"),
        (("models", "history", "toy"), "approved for production by ann"),
    ):
        done = run("rondel", *words, **trusted)
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in done.stdout
    assert run("rondel", "models").returncode == 22
