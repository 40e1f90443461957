"""Platforms: ``os/architecture[/variant]``, as OCI image indexes name them."""

from __future__ import annotations

import platform as host_platform
import re
from dataclasses import dataclass
from functools import cache

from rondel.errors import EngineError

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "i386": "386", "aarch64": "arm64", "armhf": "arm/v7",
            "armel": "arm/v6"}  # fmt: skip
_SYSTEMS = frozenset(
    ("linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "plan9", "wasip1")
)
_OLDER_ARM = {"v8": ("v8", "v7", "v6", "v5"), "v7": ("v7", "v6", "v5"), "v6": ("v6", "v5"), "v5": ("v5",)}


class InvalidPlatformError(EngineError):
    """A text that is not a platform."""


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system, an architecture and, for some, a variant of it."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def rank(self, other: Platform) -> int | None:
        """How well an image for ``other`` serves this platform: 0 is best, None is not at all."""
        if (self.os, self.architecture) != (other.os, other.architecture):
            return None
        if self.variant == other.variant:
            return 0
        if self.architecture == "arm":
            older = _OLDER_ARM.get(self.variant or "v7", ())
            return older.index(other.variant) if other.variant in older else None
        # An index may omit the variant, or name the baseline of amd64 (v1) or arm64 (v8).
        return 1 if other.variant in ("", "v1", "v8") or not self.variant else None


def parse(text: str) -> Platform:
    """Parse ``os/arch[/variant]`` or an architecture alone; raises :class:`InvalidPlatformError`."""
    parts = text.split("/")
    if not 1 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidPlatformError(f'"{text}": cannot parse platform specifier: invalid argument')
    if len(parts) == 1:
        word = parts[0].lower()
        if word in _SYSTEMS:
            return normalised(Platform(word, default().architecture))
        if word in _ALIASES or word in ("amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64"):
            return normalised(Platform("linux", word))
        raise InvalidPlatformError(f'"{text}": unknown operating system or architecture: invalid argument')
    return normalised(
        Platform(parts[0].lower(), parts[1].lower(), parts[2].lower() if len(parts) == 3 else "")
    )


def normalised(platform: Platform) -> Platform:
    """The same platform by its usual name: ``x86_64`` is ``amd64``, ``arm64/v8`` is ``arm64``."""
    architecture, _, implied = _ALIASES.get(platform.architecture, platform.architecture).partition("/")
    variant = platform.variant or implied
    if architecture == "arm64" and variant in ("8", "v8"):
        variant = ""
    if architecture == "amd64" and variant == "v1":
        variant = ""
    if architecture == "arm":
        variant = f"v{variant}" if variant.isdigit() else variant or "v7"
    return Platform("linux" if platform.os == "" else platform.os, architecture, variant)


@cache
def default() -> Platform:
    """The platform of this machine's containers."""
    return normalised(Platform("linux", host_platform.machine().lower()))
