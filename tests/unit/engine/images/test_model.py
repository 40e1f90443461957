"""Manifests, indexes and configurations as JSON and back."""

import json

import pytest

from rondel.engine.images import model
from rondel.engine.images.model import (
    Descriptor,
    ImageConfig,
    ImageIndex,
    InvalidImageError,
    Manifest,
    parse_manifest,
)
from rondel.engine.images.platforms import parse as platform

CONFIG = Descriptor(model.OCI_CONFIG, "sha256:" + "c" * 64, 3)
LAYER = Descriptor(model.OCI_LAYER + "+gzip", "sha256:" + "d" * 64, 4)


def test_a_manifest_survives_its_json() -> None:
    manifest = Manifest(CONFIG, (LAYER, LAYER))
    assert parse_manifest(manifest.to_bytes()) == manifest


def test_an_index_survives_its_json() -> None:
    index = ImageIndex((Descriptor(model.OCI_MANIFEST, "sha256:" + "e" * 64, 1, platform("linux/arm/v6")),))
    assert parse_manifest(index.to_bytes()) == index


def test_a_docker_manifest_keeps_its_kind_without_a_header() -> None:
    manifest = Manifest(CONFIG, (LAYER,), model.DOCKER_MANIFEST)
    assert parse_manifest(manifest.to_bytes()) == manifest


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"\xff", b'{"schemaVersion": 1, "fsLayers": []}', b'{"schemaVersion": 2, "config": {}}',
     b'{"schemaVersion": 2, "config": {"digest": "../x", "size": 1}, "layers": []}',
     b'{"schemaVersion": 2, "manifests": 3}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidImageError):
        parse_manifest(data)


def test_a_configuration_survives_and_leaves_out_what_is_empty() -> None:
    config = ImageConfig(
        platform=platform("linux/arm64"), env=("A=1", "B="), entrypoint=("e",), cmd=("c",), workdir="/w",
        user="u:g", labels={"l": "v"}, exposed_ports=("80/tcp",), volumes=("/v",), stop_signal="SIGINT",
        shell=("/bin/bash", "-c"), healthcheck={"Test": ["NONE"]}, diff_ids=("sha256:1",),
        rest={"author": "me"},
    )  # fmt: skip
    assert ImageConfig.from_bytes(config.to_bytes()) == config
    assert json.loads(ImageConfig(platform=platform("linux/amd64")).to_bytes()) == {
        "architecture": "amd64", "config": {}, "os": "linux", "rootfs": {"diff_ids": [], "type": "layers"},
    }  # fmt: skip


def test_nulls_of_older_tools_are_read_as_nothing() -> None:
    data = b'{"os": "linux", "architecture": "amd64", "config": {"Env": null, "Cmd": null, "Labels": null}}'
    config = ImageConfig.from_bytes(data)
    assert (config.env, config.cmd, config.labels) == ((), (), {})


def test_the_same_content_has_the_same_bytes() -> None:
    one = ImageConfig(labels={"a": "1", "b": "2"}, platform=platform("linux/amd64"))
    two = ImageConfig(labels={"b": "2", "a": "1"}, platform=platform("linux/amd64"))
    assert one.to_bytes() == two.to_bytes()
