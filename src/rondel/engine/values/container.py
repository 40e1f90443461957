"""Containers: a root file system, an image configuration, mounts and bound services."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rondel.engine.values.node import Fs, Node
    from rondel.engine.values.objects import CacheVolume, Secret, Socket

Pairs: TypeAlias = tuple[tuple[str, str], ...]


def with_pair(pairs: Pairs, name: str, value: str) -> Pairs:
    """The pairs with one set: a known name keeps its position, a new one goes to the end."""
    if any(key == name for key, _ in pairs):
        return tuple((key, value if key == name else old) for key, old in pairs)
    return (*pairs, (name, value))


def without_pair(pairs: Pairs, name: str) -> Pairs:
    """The pairs without one name."""
    return tuple(pair for pair in pairs if pair[0] != name)


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a container's service listens on."""

    port: int
    protocol: str = "TCP"
    description: str | None = None
    experimental_skip_healthcheck: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """An image's health check; it decides when a service is ready. Durations are Go texts such as ``1m30s``.

    ``none`` is HEALTHCHECK NONE: it disables the check of the base image.
    """

    args: tuple[str, ...]
    shell: bool = False
    interval: str = "0s"
    timeout: str = "0s"
    start_period: str = "0s"
    start_interval: str = "0s"
    retries: int = 0
    none: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """What an image says about how to run it (OCI image configuration, the parts in use)."""

    env: Pairs = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    labels: Pairs = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()

    @property
    def active_healthcheck(self) -> Healthcheck | None:
        """The health check to run; also None if HEALTHCHECK NONE disables it."""
        return None if self.healthcheck is not None and self.healthcheck.none else self.healthcheck

    def env_value(self, name: str) -> str | None:
        """A variable's value, or None."""
        return next((value for key, value in self.env if key == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryMount:
    """A directory mounted with copy-on-write; later commands of the chain see what earlier ones wrote."""

    path: str
    source: Fs | None
    subpath: str = "/"
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMount:
    """A file mounted with copy-on-write or read-only."""

    path: str
    source: Fs | None
    file: str
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMount:
    """A cache volume; never part of a snapshot. ``initial`` is the content of a new volume.

    ``mode`` is the mode of a new volume's top directory.
    """

    path: str
    volume: CacheVolume
    initial: Fs | None = None
    initial_path: str = "/"
    mode: int = 0o755
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TempMount:
    """A separate tmpfs for each command; ``size`` in bytes, None for the kernel's default."""

    path: str
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretMount:
    """A secret as a file in memory, for commands only."""

    path: str
    secret: Secret
    mode: int = 0o400
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketMount:
    """A Unix socket, for commands only."""

    path: str
    socket: Socket
    owner: str = ""


Mount: TypeAlias = DirectoryMount | FileMount | CacheMount | TempMount | SecretMount | SocketMount


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """An immutable container.

    ``fs`` None is the empty root file system. ``last_exec`` is the node of the latest
    command, whose output ``stdout`` returns. ``services`` are pairs of alias and service
    (any frozen value with a ``key``). ``platform`` is ``os/arch[/variant]``. ``default_args_set``
    says that the default arguments were set here and do not come from the image: a service then
    runs them without the entrypoint. ``origin`` is what ``label`` returns in addition to the
    labels: where the image came from. It is in no list of labels and in no exported image.
    """

    platform: str
    fs: Fs | None = None
    config: ContainerConfig = ContainerConfig()
    mounts: tuple[Mount, ...] = ()
    secret_env: tuple[tuple[str, Secret], ...] = ()
    volatile_env: Pairs = ()
    services: tuple[tuple[str, object], ...] = ()
    annotations: Pairs = ()
    registry_auth: tuple[tuple[str, str, Secret], ...] = ()
    image_ref: str | None = None
    last_exec: Node | None = None
    terminal_cmd: tuple[str, ...] = ()
    default_args_set: bool = False
    origin: Pairs = ()

    def with_config(self, config: ContainerConfig) -> Container:
        """The same container with another configuration; it loses its image reference."""
        return replace(self, config=config, image_ref=None)

    def with_fs(self, fs: Fs | None) -> Container:
        """The same container with another root file system."""
        return replace(self, fs=fs, image_ref=None)

    def with_mount(self, mount: Mount) -> Container:
        """Add a mount; it replaces one at the same path and hides those below it for good.

        Secrets and sockets form a separate layer above the others: they only replace each other.
        """
        if isinstance(mount, SecretMount | SocketMount):
            kept = [m for m in self.mounts if type(m) is not type(mount) or m.path != mount.path]
        else:
            below = mount.path.rstrip("/") + "/"
            kept = [
                old
                for old in self.mounts
                if isinstance(old, SecretMount | SocketMount)
                or not (old.path == mount.path or old.path.startswith(below))
            ]
        return replace(self, mounts=(*kept, mount), image_ref=None)

    def without_mount(self, path: str) -> Container:
        """Remove the mount at a path: file system or secret, but not a socket."""
        return self.with_mounts(m for m in self.mounts if isinstance(m, SocketMount) or m.path != path)

    def with_mounts(self, mounts: Iterable[Mount]) -> Container:
        """Replace all mounts."""
        return replace(self, mounts=tuple(mounts), image_ref=None)

    @property
    def pending(self) -> tuple[Fs, ...]:
        """The file systems that must be evaluated before any setting is read."""
        sources = [self.fs, *(m.source for m in self.mounts if isinstance(m, DirectoryMount | FileMount))]
        return tuple(fs for fs in sources if fs is not None and fs.node.forces)
