"""Platforms by their usual names, and which image serves which."""

import pytest

from rondel.engine.images.model import Descriptor, ImageIndex
from rondel.engine.images.platforms import InvalidPlatformError, parse


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("windows/amd64", "windows/amd64"),
    ],
)
def test_platforms_have_one_name_each(text: str, name: str) -> None:
    assert str(parse(text)) == name


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/", "nonsense", "linux/a b"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidPlatformError):
        parse(text)


def entry(name: str | None, **annotations: str) -> Descriptor:
    platform = parse(name) if name else None
    return Descriptor("m", f"sha256:{name}", 1, platform, annotations)


def test_the_best_image_of_an_index_is_chosen() -> None:
    index = ImageIndex(
        (entry("linux/arm/v5"), entry("linux/arm/v7"), entry("linux/amd64"), entry("linux/arm64"))
    )
    assert index.best_for(parse("linux/arm/v7")) == entry("linux/arm/v7")
    assert index.best_for(parse("linux/arm/v6")) == entry("linux/arm/v5")
    assert index.best_for(parse("linux/amd64")) == entry("linux/amd64")
    assert index.best_for(parse("linux/s390x")) is None


def test_attestations_are_no_images() -> None:
    attestation = entry("linux/amd64", **{"vnd.docker.reference.type": "attestation-manifest"})
    assert ImageIndex((attestation,)).best_for(parse("linux/amd64")) is None
    assert ImageIndex((attestation, entry("linux/amd64"))).best_for(parse("linux/amd64")) == entry(
        "linux/amd64"
    )
