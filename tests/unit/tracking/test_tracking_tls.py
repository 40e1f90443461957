"""A server behind a certificate of the team's own CA, as the GitLab stub with TLS."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from typing import TYPE_CHECKING

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from gitlab_stub import TOKEN, GitlabStub

from rondel.errors import TrackingUnavailable
from rondel.tracking import TrackingClient
from rondel.tracking.endpoint import parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "team CA")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


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
        endpoint = parse(uri, {"MLFLOW_TRACKING_TOKEN": TOKEN, **environ})
        async with TrackingClient(endpoint) as client:
            await client.probe()

    anyio.run(main)


def test_the_teams_own_ca_is_trusted_when_it_is_named(server: tuple[str, Path]) -> None:
    uri, ca = server
    assert uri.startswith("https:")
    probe(uri, {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(ca)})
    probe(uri, {"MLFLOW_TRACKING_INSECURE_TLS": "true"})


def test_an_unknown_ca_is_refused_with_what_to_do(server: tuple[str, Path]) -> None:
    with pytest.raises(TrackingUnavailable, match="cannot be verified") as caught:
        probe(server[0], {})
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in (caught.value.hint or "")
