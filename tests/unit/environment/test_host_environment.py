from __future__ import annotations

import subprocess

import pytest

from rondel.environment.host_environment import build_script, host_environment
from rondel.errors import ConfigurationError
from rondel.settings import Settings


def test_containers_get_proxies_and_their_exceptions(tmp_path):
    found = host_environment(
        Settings(root=tmp_path),
        {"https_proxy": "http://proxy:3128", "no_proxy": "corp"},
        ["mlflow", "dvc-remote"],
    )
    assert found.environment["https_proxy"] == "http://proxy:3128"
    assert found.environment["no_proxy"] == "corp,localhost,127.0.0.1,mlflow,dvc-remote"
    assert found.environment["NO_PROXY"] == "localhost,127.0.0.1,mlflow,dvc-remote"


def test_without_a_proxy_no_proxy_variables_are_set(tmp_path):
    assert not host_environment(Settings(root=tmp_path), {"PATH": "/bin"}, ["mlflow"]).environment


def test_a_login_in_an_address_makes_it_a_secret(tmp_path):
    environ = {"PIP_INDEX_URL": "https://me:pw@index/simple", "UV_INDEX_URL": "https://index/simple"}
    found = host_environment(Settings(root=tmp_path), environ, [])
    assert found.secrets == {"PIP_INDEX_URL": "https://me:pw@index/simple"}
    assert found.environment == {"UV_INDEX_URL": "https://index/simple"}
    assert "pw" not in repr(found)


def test_certificates_are_copied_once_and_named_by_each_variable(tmp_path):
    file = tmp_path / "ca.pem"
    file.write_text("certificates")
    environ = {"SSL_CERT_FILE": str(file), "REQUESTS_CA_BUNDLE": str(file), "PIP_CERT": "/nowhere"}
    found = host_environment(Settings(root=tmp_path), environ, [])
    assert list(found.files.values()) == [file.resolve()]
    assert found.environment["SSL_CERT_FILE"] == found.environment["REQUESTS_CA_BUNDLE"]
    assert "PIP_CERT" not in found.environment


def test_named_variables_and_secrets_reach_the_stage(tmp_path):
    settings = Settings(root=tmp_path, environment=("TZ", "ABSENT"), secrets=("HF_TOKEN",))
    found = host_environment(settings, {"TZ": "UTC", "HF_TOKEN": "value", "OTHER": "x"}, [])
    assert found.environment == {"TZ": "UTC"}
    assert found.secrets == {"HF_TOKEN": "value"}


def test_a_secret_that_is_not_set_is_a_mistake(tmp_path):
    with pytest.raises(ConfigurationError, match="HF_TOKEN"):
        host_environment(Settings(root=tmp_path, secrets=("HF_TOKEN",)), {}, [])


def test_the_index_settings_of_a_build_are_shell_words():
    script = build_script({"PIP_INDEX_URL": "https://a b'c/", "HOME": "/root"})
    assert script == "export PIP_INDEX_URL='https://a b'\"'\"'c/'\n"
    assert build_script({}) == ""


def test_a_build_reaches_its_index_as_this_machine_does(tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n$HOME `x`\n-----END CERTIFICATE-----\n")
    environ = {
        "https_proxy": "http://proxy:1",
        "no_proxy": "b",
        "SSL_CERT_FILE": str(bundle),
        "PIP_CERT": str(bundle),
    }
    script = build_script(environ).replace("/dev/shm/", f"{tmp_path}/")
    shown = 'echo "$https_proxy $no_proxy $SSL_CERT_FILE"; cat "$PIP_CERT"'
    done = subprocess.run(["sh", "-c", script + shown], capture_output=True, text=True, check=True, env={})
    assert done.stdout == f"http://proxy:1 b {tmp_path}/rondel-certificate-0.pem\n{bundle.read_text()}"
