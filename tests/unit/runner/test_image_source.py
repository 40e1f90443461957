"""The host is part of a stage's key only if the image is made from it."""

from __future__ import annotations

import pytest

from rondel.cache import may_be_host_image
from rondel.cli.show import image
from rondel.record import Image


@pytest.mark.parametrize(
    ("source", "own"),
    [("host", True), ("in-place", True), (None, True), ("registry", False), ("fake", False)],
)
def test_the_host_is_part_of_the_key_for_the_host_image_and_unknown_images(
    source: str | None, own: bool
) -> None:
    assert may_be_host_image(source) is own


def test_an_image_is_shown_with_its_digest_and_origin() -> None:
    base = Image(reference="Containerfile:stage", digest="blake2b:12", source="host", base="host@sha256:34")
    assert image(base) == ("Containerfile:stage, blake2b:12, this machine's system was the base image")
    pulled = Image(
        reference="Containerfile:stage", digest="sha256:12", source="registry", base="python@sha256:3"
    )
    assert image(pulled) == "Containerfile:stage, sha256:12, python@sha256:3"
    assert image(Image(reference="Containerfile:stage")) == "Containerfile:stage"
