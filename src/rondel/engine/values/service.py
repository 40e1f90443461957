"""Services: processes that listen on ports, and the names by which containers reach them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.engine.values.container import Container, Port

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForward:
    """A forwarded port: from ``frontend`` to ``backend``; ``frontend`` None means the same port, or any."""

    backend: int
    frontend: int | None = None
    protocol: str = "TCP"

    @property
    def front(self) -> int:
        """The port to connect to: the backend's if no frontend was named."""
        return self.frontend if self.frontend is not None else self.backend


class Service(Protocol):
    """What all services have: a key that identifies the instance, and a host name."""

    @property
    def key(self) -> str:
        """Equal keys share one running instance in a session."""
        ...

    @property
    def custom_hostname(self) -> str:
        """The host name that the user chose, or empty."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerService:
    """A container's command that keeps running."""

    key: str
    container: Container
    args: tuple[str, ...]
    insecure: bool = False
    custom_hostname: str = ""

    @property
    def ports(self) -> tuple[Port, ...]:
        """The ports that it declares."""
        return self.container.config.ports


@dataclass(frozen=True, slots=True, kw_only=True)
class HostService:
    """Ports of the machine, or of a host that it can reach, as a service for containers."""

    key: str
    host: str
    forwards: tuple[PortForward, ...]
    custom_hostname: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """A container's service on ports of the machine."""

    key: str
    upstream: ContainerService
    forwards: tuple[PortForward, ...]
    custom_hostname: str = ""


AnyService = ContainerService | HostService | Tunnel


def hostname_of(service: Service) -> str:
    """The host name of a service: the user's choice, else 13 letters and digits of its key."""
    return service.custom_hostname or host_hash(service.key)


def host_hash(key: str) -> str:
    """A hexadecimal key as a host name that does not begin with a digit."""
    number = int(key[:24], 16)
    letters = []
    for _ in range(12):
        number, rest = divmod(number, 32)
        letters.append(_ALPHABET[rest])
    return "s" + "".join(letters)


def service_command(
    entrypoint: Sequence[str],
    default_args: Sequence[str],
    args: Sequence[str],
    *,
    use_entrypoint: bool,
    args_are_set: bool,
) -> tuple[str, ...]:
    """The command of a service; empty if nothing defines it.

    Explicit arguments replace the default ones, and also the entrypoint unless it is requested.
    Without them the entrypoint is used, unless the default arguments were set separately from the
    image (``args_are_set``) and the entrypoint is not requested.
    """
    with_entrypoint = use_entrypoint if args or args_are_set else True
    command = tuple(args or default_args)
    return (*entrypoint, *command) if with_entrypoint else command
