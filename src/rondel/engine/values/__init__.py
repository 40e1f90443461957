"""The API's objects as frozen values: they describe, and do nothing by themselves.

A file system is a :class:`~rondel.engine.values.node.Node`, the recipe of a
snapshot; :class:`Container`, :class:`Directory` and :class:`File` refer to one
and hold the settings around it. :mod:`rondel.engine.evaluate` evaluates them.
"""

from rondel.engine.values.container import (
    CacheMount,
    Container,
    ContainerConfig,
    DirectoryMount,
    FileMount,
    Healthcheck,
    Mount,
    Port,
    SecretMount,
    SocketMount,
    TempMount,
)
from rondel.engine.values.node import Fs, Node, digest_of
from rondel.engine.values.objects import (
    CacheVolume,
    Directory,
    EnvVariable,
    File,
    Label,
    Secret,
    Socket,
)

__all__ = [
    "CacheMount",
    "CacheVolume",
    "Container",
    "ContainerConfig",
    "Directory",
    "DirectoryMount",
    "EnvVariable",
    "File",
    "FileMount",
    "Fs",
    "Healthcheck",
    "Label",
    "Mount",
    "Node",
    "Port",
    "Secret",
    "SecretMount",
    "Socket",
    "SocketMount",
    "TempMount",
    "digest_of",
]
