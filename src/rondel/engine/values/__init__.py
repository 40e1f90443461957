"""What the API's objects are: frozen values that describe, and do nothing by themselves.

A file system is a :class:`~rondel.engine.values.node.Node`, the recipe of a
snapshot; :class:`Container`, :class:`Directory` and :class:`File` point at one
and say what lies around it. Evaluation is :mod:`rondel.engine.evaluate`'s.
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
