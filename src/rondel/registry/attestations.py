"""The attestations of a model version: an SBOM, a provenance statement, and its signature.

- SBOM: CycloneDX 1.6 JSON of the packages in the image that made the model.
- Provenance: an in-toto statement (https://in-toto.io/Statement/v1) with the
  SLSA provenance predicate (https://slsa.dev/provenance/v1).
- Signature: a DSSE envelope around the statement. A private key in a PEM file
  (``RONDEL_SIGNING_KEY``) signs it offline; public keys verify it.
"""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.registry.lineage import Lineage

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://rondel.dev/pipeline-run/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
SIGNING_KEY = "RONDEL_SIGNING_KEY"
SIGNING_KEY_PASSWORD = "RONDEL_SIGNING_KEY_PASSWORD"  # noqa: S105 (the variable's name)


def libraries_installed() -> bool:
    """Whether the libraries for SBOM and signature are installed."""
    return all(find_spec(name) is not None for name in ("cyclonedx", "securesystemslib"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Attestation:
    """A file that belongs to a version. A tag of the version holds its digest."""

    name: str
    content: bytes

    @property
    def digest(self) -> str:
        """The SHA-256 of the content."""
        return hashlib.sha256(self.content).hexdigest()


def sbom(model: str, packages: Mapping[str, str], *, image: str) -> bytes:
    """The CycloneDX document of these Python packages (name to version), sorted by name."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    root = Component(name=model, type=ComponentType.MACHINE_LEARNING_MODEL, bom_ref="model", version=image)
    bom = Bom()
    bom.metadata.component = root
    components = [
        Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            purl=PackageURL("pypi", name=name.lower().replace("_", "-"), version=version),
            bom_ref=f"pypi/{name}@{version}",
        )
        for name, version in sorted(packages.items())
    ]
    for component in components:
        bom.components.add(component)
    bom.register_dependency(root, components)
    return JsonV1Dot6(bom).output_as_string(indent=1).encode()


def provenance(
    model: str, *, artifacts: Mapping[str, str], lineage: Lineage, version: str, rondel: str
) -> dict[str, Any]:
    """The statement: which run made which artifacts (name to ``algorithm:digest``) from which materials."""
    subjects = [{"name": name, "digest": _digest(digest)} for name, digest in sorted(artifacts.items())]
    materials: list[dict[str, Any]] = [
        {"uri": f"file:{path}", "digest": _digest(digest)} for path, digest in sorted(lineage.inputs.items())
    ]
    if lineage.git_commit:
        repository = lineage.git_remote or "local"
        materials.insert(
            0, {"uri": f"git+{repository}@{lineage.git_commit}", "digest": {"gitCommit": lineage.git_commit}}
        )
    if lineage.image:
        materials.append({"uri": "image", "digest": _digest(lineage.image)})
    return {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "model": model,
                    "version": version,
                    "pipeline": lineage.pipeline,
                    "parameters": dict(lineage.params),
                },
                "internalParameters": {"dirty": lineage.git_dirty, "gate": lineage.gate},
                "resolvedDependencies": materials,
            },
            "runDetails": {
                "builder": {
                    "id": lineage.ci_job or "https://rondel.dev/local",
                    "version": {"rondel": rondel},
                },
                "metadata": {"invocationId": lineage.run},
            },
        },
    }


def make_envelope(statement: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The statement in a DSSE envelope, signed if a key is configured.

    Raises ConfigurationError for a key that can't be read.
    """
    from securesystemslib.dsse import Envelope

    payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    signed = Envelope(payload, PAYLOAD_TYPE, {})
    path = environ.get(SIGNING_KEY, "").strip()
    if path:
        signed.sign(_signer(Path(path), environ.get(SIGNING_KEY_PASSWORD)))
    document: dict[str, Any] = signed.to_dict()
    return document


def open_envelope(document: Mapping[str, Any]) -> dict[str, Any]:
    """The statement in an envelope. Raises ValueError if there is none."""
    from securesystemslib.dsse import Envelope

    try:
        statement = json.loads(Envelope.from_dict(deepcopy(dict(document))).payload)
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # all of these, for damaged documents
        raise ValueError(f"the file is not a DSSE envelope: {type(error).__name__} {error}") from None
    if not isinstance(statement, dict) or statement.get("_type") != STATEMENT_TYPE:
        raise ValueError("the file is not an in-toto statement")
    return statement


def signers_of(document: Mapping[str, Any], keys: Sequence[Path]) -> list[str]:
    """The file names of the keys that have a valid signature on the envelope.

    Raises ConfigurationError for a key file that can't be read.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError

    valid = []
    for path in keys:
        key = _public_key(path)
        try:
            # The library changes the document it reads.
            Envelope.from_dict(deepcopy(dict(document))).verify([key], 1)
        except VerificationError:
            continue
        valid.append(path.name)
    return valid


def sign(data: bytes, environ: Mapping[str, str]) -> str:
    """The signature by the configured key, in hex; empty without a key.

    Raises ConfigurationError for a key that can't be used.
    """
    path = environ.get(SIGNING_KEY, "").strip()
    if not path:
        return ""
    if not libraries_installed():
        raise ConfigurationError(
            "the libraries for signatures are not installed",
            hint="install rondel[provenance]",
            place=SIGNING_KEY,
        )
    signature = _signer(Path(path), environ.get(SIGNING_KEY_PASSWORD)).sign(data)
    return str(signature.signature)


def is_signed_by(data: bytes, signature: str, keys: Sequence[Path]) -> bool:
    """Whether one of the keys made the signature. Raises ConfigurationError for an unreadable key."""
    from securesystemslib.exceptions import UnverifiedSignatureError
    from securesystemslib.signer import Signature  # type: ignore[attr-defined]

    for path in keys:
        key = _public_key(path)
        try:
            key.verify_signature(Signature(key.keyid, signature), data)
        except UnverifiedSignatureError:
            continue
        return True
    return False


def _signer(path: Path, password: str | None) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]

    try:
        content = path.read_bytes()
        return CryptoSigner(load_pem_private_key(content, password.encode() if password else None))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"the signing key {path} cannot be used",
            why=str(error),
            hint="make a key with: openssl genpkey -algorithm ed25519 -out KEY.pem; if it has a password, set"
            f" {SIGNING_KEY_PASSWORD}",
            place=SIGNING_KEY,
        ) from None


def _public_key(path: Path) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey  # type: ignore[attr-defined]

    try:
        return SSlibKey.from_crypto(load_pem_public_key(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the public key {path} cannot be read",
            why=str(error),
            hint="make one with: openssl pkey -in KEY.pem -pubout -out KEY.pub",
        ) from None


def _digest(text: str) -> dict[str, str]:
    algorithm, colon, digest = text.partition(":")
    # DVC's hash of a folder is that of its list of files, with the suffix .dir.
    return {algorithm: digest.removesuffix(".dir")} if colon else {"sha256": text}
