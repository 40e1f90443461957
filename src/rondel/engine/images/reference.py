"""Image references: the grammar of the distribution project, with its defaults and error texts.

The grammar is that of https://github.com/distribution/reference: a name without
a registry belongs to ``docker.io``, one without a namespace to ``library``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from rondel.errors import EngineError

DEFAULT_REGISTRY = "docker.io"
_DEFAULT_NAMESPACE = "library"
_MAX_NAME = 255

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[(?:[a-fA-F0-9:]+)\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<registry>{_REGISTRY})/(?P<repository>{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")


class InvalidReferenceError(EngineError):
    """A text that is not an image reference."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed image reference: registry, repository, and a tag, a digest or both."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """The full name: registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def locator(self) -> str:
        """What to request from a registry: the digest if there is one, else the tag."""
        return self.digest or self.tag or "latest"

    def with_default_tag(self) -> Reference:
        """Add the tag ``latest`` if there is neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag="latest")

    def with_digest(self, digest: str) -> Reference:
        """Pin to ``digest``; the tag stays for readers."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse(text: str) -> Reference:
    """Parse an image reference; raises :class:`InvalidReferenceError` with Docker's message."""
    if _IDENTIFIER.fullmatch(text):
        raise InvalidReferenceError(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    registry, remainder = _split_registry(text)
    name = remainder.split("@", 1)[0].split(":", 1)[0]
    if name != name.lower():
        raise InvalidReferenceError(f"invalid reference format: repository name ({name}) must be lowercase")
    match = _REFERENCE.fullmatch(f"{registry}/{remainder}")
    if match is None:
        raise InvalidReferenceError("invalid reference format")
    if len(match["repository"]) > _MAX_NAME:
        raise InvalidReferenceError(f"repository name must not be more than {_MAX_NAME} characters")
    digest = match["digest"]
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise InvalidReferenceError(_digest_fault(digest))
    return Reference(match["registry"], match["repository"], match["tag"], digest)


def _split_registry(text: str) -> tuple[str, str]:
    """A first part with a dot, a port, a capital or the name ``localhost`` is a registry."""
    first, slash, rest = text.partition("/")
    is_registry = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    registry, remainder = (first, rest) if is_registry else (DEFAULT_REGISTRY, text)
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in remainder:
        remainder = f"{_DEFAULT_NAMESPACE}/{remainder}"
    return registry, remainder


def _digest_fault(digest: str) -> str:
    algorithm = digest.split(":", 1)[0]
    if algorithm not in ("sha256", "sha512"):
        return "unsupported digest algorithm"
    return "invalid checksum digest format" if digest != digest.lower() else "invalid checksum digest length"
