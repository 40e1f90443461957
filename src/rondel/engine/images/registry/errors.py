"""What can go wrong with a registry, by what a caller does about it."""

from __future__ import annotations

from rondel.errors import EngineError


class RegistryError(EngineError):
    """A registry answered something that cannot be used."""


class RegistryUnreachable(RegistryError):
    """No registry answers: a refused or lost connection, an unknown host, a handshake that fails."""


class RegistryDenied(RegistryError):
    """The registry wants credentials, or does not take the ones it got (401, 403)."""


class ImageNotFound(RegistryError):
    """The registry has no such repository, tag or digest (404)."""
