"""The servers that the tests of the registry share: one real MLflow server, one behind TLS, and the GitLab stub.

The same behaviour is asked of all; what only one can do has tests of its own.
"""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

import pytest
from gitlab_stub import TOKEN, GitlabStub
from mlflow_server import mlflow_server
from registry_project import ENVIRON, git
from tls import TlsProxy, certificate

from rondel.tracking import Endpoint, server
from rondel.tracking.endpoint import parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def shorter_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine nobody is a second late."""
    monkeypatch.setattr(sys.modules["rondel.registry.aliases"], "SETTLE_SECONDS", 0.2)


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit and a data file that lies in the local remote."""
    root = tmp_path_factory.mktemp("project")
    git(root, "init", "-q", "-b", "main")
    (root / "pyproject.toml").write_text('[project]\nname = "flights"\n')
    git(root, "add", "pyproject.toml")
    git(root, "commit", "-q", "-m", "Begin")
    data = hashlib.md5(b"data", usedforsecurity=False).hexdigest()
    stored = root / ".rondel" / "remote" / "files" / "md5" / data[:2] / data[2:]
    stored.parent.mkdir(parents=True)
    stored.write_bytes(b"data")
    return root


@pytest.fixture(scope="package")
def mlflow(project: Path) -> Iterator[Endpoint]:
    lease = server.acquire(project, ENVIRON)
    yield lease.ready_now()
    lease.release()
    server.stop(project)


@pytest.fixture(scope="package")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """Another real server, behind TLS with a CA of the team's own."""
    root = tmp_path_factory.mktemp("tls")
    pem = certificate(root)
    with mlflow_server(root) as uri:
        proxy = TlsProxy(pem, Endpoint(uri=uri).port)
        yield parse_endpoint(proxy.uri, {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(pem)})
        proxy.close()


@pytest.fixture(params=["mlflow", "tls", "gitlab"])
def endpoint(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    if request.param != "gitlab":
        yield request.getfixturevalue(request.param)
        return
    stub = GitlabStub()
    yield parse_endpoint(stub.uri, {"MLFLOW_TRACKING_TOKEN": TOKEN})
    stub.close()
