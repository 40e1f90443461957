"""A server with a certificate from the team's own CA: the GitLab stub with TLS."""

from __future__ import annotations

import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import anyio
import pytest
from gitlab_stub import TOKEN, GitlabStub
from tls import TlsProxy, certificate

from rondel.errors import TrackingUnavailable
from rondel.tracking import TrackingClient
from rondel.tracking.endpoint import connection_to, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a stub with TLS, and the CA's file."""
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    stub = GitlabStub(tls=context)
    yield stub.uri, pem
    stub.close()


def probe(uri: str, environ: dict[str, str]) -> None:
    async def main() -> None:
        endpoint = parse_endpoint(uri, {"MLFLOW_TRACKING_TOKEN": TOKEN, **environ})
        async with TrackingClient(endpoint) as client:
            await client.probe()

    anyio.run(main)


def test_the_teams_ca_is_trusted_if_it_is_configured(server: tuple[str, Path]) -> None:
    uri, ca = server
    assert uri.startswith("https:")
    probe(uri, {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(ca)})
    probe(uri, {"MLFLOW_TRACKING_INSECURE_TLS": "true"})


def test_an_unknown_ca_is_refused_with_what_to_do(server: tuple[str, Path]) -> None:
    with pytest.raises(TrackingUnavailable, match="cannot be verified") as caught:
        probe(server[0], {})
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in (caught.value.hint or "")


class Experiments(BaseHTTPRequestHandler):
    """An MLflow server that only answers probes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("names", [(), ("mlflow",)])
def test_a_loopback_servers_certificate_must_be_valid_for_the_name_that_containers_use(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    plain = ThreadingHTTPServer(("127.0.0.1", 0), Experiments)
    plain.daemon_threads = True
    threading.Thread(target=plain.serve_forever, args=(0.01,), daemon=True).start()
    pem = certificate(tmp_path, names)
    proxy = TlsProxy(pem, plain.server_address[1])
    environ = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(pem)}
    try:
        if names:
            probe(proxy.uri, environ)
        else:
            with pytest.raises(TrackingUnavailable, match="under the name that containers use") as caught:
                probe(proxy.uri, environ)
            assert "DNS:mlflow" in (caught.value.hint or "")
            probe(proxy.uri, {"MLFLOW_TRACKING_INSECURE_TLS": "true"})
    finally:
        proxy.close()
        plain.shutdown()
        plain.server_close()


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_common_ca_variables_apply_here_and_in_containers(server: tuple[str, Path], variable: str) -> None:
    uri, ca = server
    probe(uri, {variable: str(ca)})
    found = connection_to(parse_endpoint(uri, {variable: str(ca)}), experiment="flights")
    assert found.files[found.env["MLFLOW_TRACKING_SERVER_CERT_PATH"]] == ca
    # They do not apply without TLS, or if MLflow's own variable is set.
    assert parse_endpoint(uri.replace("https", "http"), {variable: str(ca)}).ca_file is None
    both = {variable: "/nowhere.pem", "MLFLOW_TRACKING_SERVER_CERT_PATH": str(ca)}
    assert parse_endpoint(uri, both).ca_file == ca
