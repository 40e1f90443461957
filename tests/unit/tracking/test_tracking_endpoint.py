"""MLflow's variables: what they mean, what containers get, and what stays secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.errors import ConfigurationError
from rondel.tracking.endpoint import connection_to, endpoint_for, parse_endpoint

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_set_means_no_remote_server() -> None:
    assert endpoint_for({}) is None
    assert endpoint_for({"MLFLOW_TRACKING_URI": " "}) is None


def test_a_password_takes_precedence_over_a_token_and_is_secret() -> None:
    endpoint = parse_endpoint(
        "https://mlflow.example:8443/",
        {
            "MLFLOW_TRACKING_USERNAME": "ann",
            "MLFLOW_TRACKING_PASSWORD": "pass-word",
            "MLFLOW_TRACKING_TOKEN": "to-ken",
        },
    )
    found = connection_to(endpoint, experiment="flights")
    assert found.uri == found.container_uri == "https://mlflow.example:8443"
    assert not found.needs_host_service
    assert found.env["MLFLOW_TRACKING_USERNAME"] == "ann"
    assert found.env["MLFLOW_EXPERIMENT_NAME"] == "flights"
    assert dict(found.secrets) == {"MLFLOW_TRACKING_PASSWORD": "pass-word"}
    assert "pass-word" not in repr(found)
    assert "to-ken" not in repr(endpoint)


def test_credentials_are_removed_from_the_address() -> None:
    endpoint = parse_endpoint("http://ann:p%40ss@mlflow.example/base/", {})
    assert endpoint.uri == "http://mlflow.example/base"
    assert (endpoint.user, endpoint.password) == ("ann", "p@ss")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.9.1"])
def test_containers_reach_a_loopback_server_by_name(host: str) -> None:
    found = connection_to(parse_endpoint(f"http://{host}:5000/x", {}), experiment="e")
    assert found.needs_host_service
    assert found.port == 5000
    assert found.container_uri == "http://mlflow:5000/x"
    assert found.env["MLFLOW_TRACKING_URI"] == "http://mlflow:5000/x"


def test_containers_get_certificates_as_files(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("x")
    found = connection_to(
        parse_endpoint("https://m", {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(ca)}), experiment="e"
    )
    assert found.files == {found.env["MLFLOW_TRACKING_SERVER_CERT_PATH"]: ca}


@pytest.mark.parametrize("uri", ["sqlite:///a.db", "/tmp/mlruns", "databricks", "http://", "http://h:99999"])
def test_an_address_that_containers_cannot_reach_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        endpoint_for({"MLFLOW_TRACKING_URI": uri})
    assert caught.value.place == "MLFLOW_TRACKING_URI"


def test_a_missing_certificate_is_reported() -> None:
    with pytest.raises(ConfigurationError, match=r"no file '/nowhere/ca\.pem'"):
        parse_endpoint("https://m", {"MLFLOW_TRACKING_SERVER_CERT_PATH": "/nowhere/ca.pem"})


def test_gitlab_is_recognised_by_its_path() -> None:
    assert parse_endpoint("https://gitlab.example/api/v4/projects/a%2Fb/ml/mlflow", {}).kind == "gitlab"
    assert parse_endpoint("https://gitlab.example/mlflow", {}).kind == "mlflow"
