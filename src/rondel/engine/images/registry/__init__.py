"""Registries over HTTP: the OCI distribution protocol, as a client.

https://github.com/opencontainers/distribution-spec; the token handshake is the
one of https://distribution.github.io/distribution/spec/auth/token/.
"""

from rondel.engine.images.registry.client import RegistryClient
from rondel.engine.images.registry.credentials import Credentials, Keychain
from rondel.engine.images.registry.errors import (
    ImageNotFound,
    RegistryDenied,
    RegistryError,
    RegistryUnreachable,
)

__all__ = [
    "Credentials",
    "ImageNotFound",
    "Keychain",
    "RegistryClient",
    "RegistryDenied",
    "RegistryError",
    "RegistryUnreachable",
]
