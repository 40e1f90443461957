"""Errors of registries, distinguished by what a caller can do."""

from __future__ import annotations

from rondel.errors import EngineError


class RegistryError(EngineError):
    """A registry returned something unusable."""


class RegistryUnreachable(RegistryError):
    """No registry can be reached: a refused or lost connection, an unknown host, a failed handshake."""


class RegistryDenied(RegistryError):
    """The registry wants credentials, or rejects the given ones (401, 403)."""


class ImageNotFound(RegistryError):
    """The registry has no such repository, tag or digest (404)."""
