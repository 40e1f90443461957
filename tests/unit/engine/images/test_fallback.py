"""For which names this machine's own system may stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.engine.images import reference
from rondel.engine.images.fallback import HostSystem, contradiction, this_system
from rondel.engine.images.platforms import parse as platform

if TYPE_CHECKING:
    from pathlib import Path

AMD64 = platform("linux/amd64")
BOOKWORM = HostSystem("3.11.7", "debian", "12", "bookworm", AMD64)
NOBLE = HostSystem("3.12.3", "ubuntu", "24.04", "noble", AMD64)


@pytest.mark.parametrize(
    ("name", "machine"),
    [
        ("python", BOOKWORM),
        ("python:3", BOOKWORM),
        ("python:3.11", BOOKWORM),
        ("python:3.11.7-slim", BOOKWORM),
        ("python:3.11-slim-bookworm", BOOKWORM),
        ("python:slim", BOOKWORM),
        ("registry.example/mirror/python:3.11", BOOKWORM),
        ("python:3.12", NOBLE),
        ("debian", BOOKWORM),
        ("debian:12-slim", BOOKWORM),
        ("debian:12.5", BOOKWORM),
        ("debian:bookworm-backports", BOOKWORM),
        ("debian:stable-slim", BOOKWORM),
        ("ubuntu:24.04", NOBLE),
        ("ubuntu:noble", NOBLE),
        ("ubuntu", NOBLE),
    ],
)
def test_names_of_what_the_machine_is_are_not_contradicted(name: str, machine: HostSystem) -> None:
    assert contradiction(reference.parse(name), AMD64, machine) is None


@pytest.mark.parametrize(
    ("name", "machine", "words"),
    [
        ("python:3.12", BOOKWORM, "Python 3.11.7, not 3.12"),
        ("python:3.1", BOOKWORM, "not 3.1"),
        ("python:3.11.9", BOOKWORM, "not 3.11.9"),
        ("python:2", BOOKWORM, "not 2"),
        ("python:3.11-alpine", BOOKWORM, "'alpine'"),
        ("python:3.11-trixie", BOOKWORM, "not trixie"),
        ("python:3.11-bookworm", NOBLE, "not 3.11"),
        ("python:3.12-bookworm", NOBLE, "not bookworm"),
        ("python:rc", BOOKWORM, "not a known version"),
        ("debian:11", BOOKWORM, "not 11"),
        ("debian:bullseye", BOOKWORM, "not bullseye"),
        ("debian:1", BOOKWORM, "not 1"),
        ("debian:bookworm-20240101", BOOKWORM, "dated"),
        ("debian", NOBLE, "not debian"),
        ("ubuntu:22.04", NOBLE, "not 22.04"),
        ("redis:7", BOOKWORM, "is not redis"),
        ("alpine", BOOKWORM, "is not alpine"),
        ("python@sha256:" + "a" * 64, BOOKWORM, "digest"),
    ],
)
def test_what_the_machine_is_not_is_said(name: str, machine: HostSystem, words: str) -> None:
    assert words in (contradiction(reference.parse(name), AMD64, machine) or "")


def test_another_platform_is_a_contradiction() -> None:
    assert "linux/arm64" in (
        contradiction(reference.parse("python"), platform("linux/arm64"), BOOKWORM) or ""
    )


def test_the_machine_is_read_from_os_release(tmp_path: Path) -> None:
    path = tmp_path / "os-release"
    path.write_text('NAME="X"\nID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\n')
    machine = this_system("3.11.7", path)
    assert (machine.system, machine.version, machine.codename) == ("debian", "12", "bookworm")
    assert this_system("3.11.7", tmp_path / "absent").system == ""
