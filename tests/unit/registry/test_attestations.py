"""SBOM, provenance and signatures, with generated keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from signing_keys import keys

from rondel.errors import ConfigurationError
from rondel.registry import attestations
from rondel.registry.lineage import Lineage

if TYPE_CHECKING:
    from pathlib import Path

LINEAGE = Lineage(
    run="20261123-194742-a1b2c3",
    pipeline="ci/main.py",
    git_commit="a" * 40,
    git_remote="https://git.example/flights.git",
    image="sha256:" + "b" * 64,
    inputs={"data/raw": "md5:" + "c" * 32 + ".dir"},
    outputs={"models/m.skops": "md5:" + "d" * 32},
    params={"train.max_iter": 200},
    gate="passed",
)


def statement() -> dict[str, object]:
    return attestations.provenance("m", artifacts=LINEAGE.outputs, lineage=LINEAGE, version="3", rondel="0.1")


def test_the_statement_lists_product_materials_and_run() -> None:
    found = json.loads(json.dumps(statement()))
    assert found["_type"] == attestations.STATEMENT_TYPE
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["subject"] == [{"name": "models/m.skops", "digest": {"md5": "d" * 32}}]
    materials = found["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert materials == [
        {"uri": f"git+https://git.example/flights.git@{'a' * 40}", "digest": {"gitCommit": "a" * 40}},
        {"uri": "file:data/raw", "digest": {"md5": "c" * 32}},
        {"uri": "image", "digest": {"sha256": "b" * 64}},
    ]
    assert found["predicate"]["runDetails"]["metadata"]["invocationId"] == LINEAGE.run


def test_an_unsigned_envelope_contains_its_statement() -> None:
    document = attestations.make_envelope(statement(), {})
    assert attestations.open_envelope(document) == json.loads(json.dumps(statement()))
    assert not document["signatures"]


@pytest.mark.parametrize("password", [None, "open sesame"])
def test_a_signature_is_valid_only_for_its_key_and_its_content(tmp_path: Path, password: str | None) -> None:
    secret, public = keys(tmp_path, "team", password)
    _, stranger = keys(tmp_path, "stranger")
    environ = {attestations.SIGNING_KEY: str(secret)}
    if password:
        environ[attestations.SIGNING_KEY_PASSWORD] = password
    document = json.loads(json.dumps(attestations.make_envelope(statement(), environ)))
    assert attestations.signers_of(document, [stranger, public]) == ["team.pub"]
    assert attestations.signers_of(document, [stranger]) == []
    other = attestations.make_envelope(
        attestations.provenance("m", artifacts={}, lineage=LINEAGE, version="4", rondel="0.1"), {}
    )
    forged = {**document, "payload": other["payload"]}
    assert attestations.signers_of(forged, [public]) == []


def test_an_unusable_key_is_reported_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no key")
    for path in (tmp_path / "bad.pem", tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match=path.name):
            attestations.make_envelope(statement(), {attestations.SIGNING_KEY: str(path)})
        with pytest.raises(ConfigurationError, match=path.name):
            attestations.signers_of(attestations.make_envelope(statement(), {}), [path])
    secret, _ = keys(tmp_path, "locked", "secret")
    with pytest.raises(ConfigurationError, match=r"locked\.pem"):
        attestations.make_envelope(statement(), {attestations.SIGNING_KEY: str(secret)})


@pytest.mark.parametrize(
    "document", [{}, {"payload": "!", "payloadType": "x", "signatures": []}, {"payload": 3}]
)
def test_a_file_that_is_not_an_envelope_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not a DSSE envelope|not an in-toto statement"):
        attestations.open_envelope(document)


def test_the_sbom_lists_every_package_once() -> None:
    found = json.loads(attestations.sbom("m", {"Scikit_Learn": "1.9.1", "numpy": "2.4.6"}, image="sha256:b"))
    assert found["bomFormat"] == "CycloneDX"
    assert found["specVersion"] == "1.6"
    assert found["metadata"]["component"]["type"] == "machine-learning-model"
    assert sorted(each["purl"] for each in found["components"]) == [
        "pkg:pypi/numpy@2.4.6",
        "pkg:pypi/scikit-learn@1.9.1",
    ]
