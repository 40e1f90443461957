"""Decides whether this machine's own system may replace an image that no registry provides.

It may replace images that it matches: ``python:3.11-slim`` on a machine with Python
3.11, ``debian:bookworm`` on that Debian. Any other detail in a reference is a contradiction
(another version, another release, Alpine, a digest, another platform), and so is every
unknown name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.engine.images import platforms

if TYPE_CHECKING:
    from rondel.engine.images.platforms import Platform
    from rondel.engine.images.reference import Reference

HOST = "host"
_VERSION = re.compile(r"\d+(?:\.\d+){0,3}")
# Words of a tag that say nothing about the version: sizes of the same system, and the current release.
_NEUTRAL = frozenset(("latest", "slim", "stable", "minimal", "full", "lts", ""))
_DEBIAN = {"buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14"}
_UBUNTU = {"focal": "20.04", "jammy": "22.04", "noble": "24.04", "resolute": "26.04"}
_DATE = re.compile(r"20\d{6}(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class HostSystem:
    """The system of this machine, in the terms of image names."""

    python: str
    system: str
    version: str
    codename: str
    platform: Platform


def this_system(python: str, os_release: Path = Path("/etc/os-release")) -> HostSystem:
    """The system of this machine, with the version of Python that its containers would have."""
    release: dict[str, str] = {}
    try:
        for line in os_release.read_text("utf-8", "replace").splitlines():
            name, equals, value = line.partition("=")
            if equals:
                release[name.strip()] = value.strip().strip("\"'")
    except OSError:
        pass
    system, version = release.get("ID", ""), release.get("VERSION_ID", "")
    codename = release.get("VERSION_CODENAME", "")
    return HostSystem(python, system, version, codename, platforms.default())


def contradiction(reference: Reference, platform: Platform, machine: HostSystem) -> str | None:
    """Why the machine may not replace ``reference``; None if it may."""
    name = reference.repository.rsplit("/", 1)[-1]
    if reference.digest is not None:
        return "a digest identifies one particular image"
    if platform.rank(machine.platform) is None:
        return f"this machine is {machine.platform}, not {platform}"
    words = (reference.tag or "latest").split("-")
    if name == "python":
        return _python(words, machine)
    if name in ("debian", "ubuntu"):
        if machine.system != name:
            return f"this machine is {machine.system or 'of an unknown system'}, not {name}"
        return next((why for word in words if (why := _release(word, machine)) is not None), None)
    return f"this machine's system is not {name}"


def _python(words: list[str], machine: HostSystem) -> str | None:
    version, *rest = words
    if version not in _NEUTRAL and version not in _DEBIAN and version not in _UBUNTU:
        if not _VERSION.fullmatch(version):
            return f"{version} is not a known version of Python"
        if not f"{machine.python}.".startswith(f"{version}."):
            return f"this machine has Python {machine.python}, not {version}"
        words = rest
    for word in words:
        if (why := _release(word, machine, numbers=False)) is not None:
            return why
    return None


def _release(word: str, machine: HostSystem, *, numbers: bool = True) -> str | None:
    """Why one word of a tag contradicts the system's release; None if it does not."""
    if word in _NEUTRAL or word == "backports":
        return None
    if word in _DEBIAN or word in _UBUNTU or word == machine.codename:
        if word == machine.codename:
            return None
        number = _DEBIAN.get(word) or _UBUNTU.get(word, "")
        system = "debian" if word in _DEBIAN else "ubuntu"
        if machine.system == system and machine.version == number:
            return None
        return f"this machine is {machine.system} {machine.codename or machine.version}, not {word}"
    if _DATE.fullmatch(word):
        return "a dated tag identifies one particular image"
    if numbers and _VERSION.fullmatch(word):
        if f"{machine.version}.".startswith(f"{word}.") or f"{word}.".startswith(f"{machine.version}."):
            return None
        return f"this machine is {machine.system} {machine.version}, not {word}"
    return f"the tag's part {word!r} may not apply to this machine"
