"""References: what Docker's own grammar accepts and says."""

import pytest

from rondel.engine.images.reference import InvalidReferenceError, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("python", "docker.io/library/python"),
        ("python:3.12-slim", "docker.io/library/python:3.12-slim"),
        ("bitnami/redis", "docker.io/bitnami/redis"),
        ("index.docker.io/library/a", "docker.io/library/a"),
        ("docker.io/a", "docker.io/library/a"),
        ("localhost/a", "localhost/a"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("[::1]:5000/a", "[::1]:5000/a"),
        ("ghcr.io/o/r_x__y-z.w:1@" + DIGEST, "ghcr.io/o/r_x__y-z.w:1@" + DIGEST),
        ("UPPER/case", "UPPER/case"),
        (f"a@{DIGEST}", f"docker.io/library/a@{DIGEST}"),
    ],
)
def test_references_are_completed_as_docker_does(text: str, full: str) -> None:
    reference = parse(text)
    assert str(reference) == full
    assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("UPPER/Case:x", "invalid reference format: repository name (Case) must be lowercase"),
        ("Case", "invalid reference format: repository name (library/Case) must be lowercase"),
        ("", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("-a", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("a" * 64, "cannot specify 64-byte hexadecimal strings"),
        ("x/" + "a" * 256, "must not be more than 255 characters"),
        ("a@sha256:abc", "invalid reference format"),
        ("a@sha256:" + "a" * 40, "invalid checksum digest length"),
        ("a@md5:" + "a" * 32, "unsupported digest algorithm"),
    ],
)
def test_what_is_no_reference_is_refused_in_the_usual_words(text: str, words: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse(text)
    assert words in str(caught.value)


def test_a_digest_is_asked_for_before_a_tag() -> None:
    assert parse("a:b@" + DIGEST).locator == DIGEST
    assert parse("a:b").locator == "b"
    assert parse("a").locator == "latest"
    assert str(parse("a").with_default_tag().with_digest(DIGEST)) == f"docker.io/library/a:latest@{DIGEST}"
