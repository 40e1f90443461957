"""Networks of containers, and the engine's side of the relay.

Containers use the host's network. A service gets a private network namespace; the relay
(:mod:`rondel.engine.sandbox.relay`) makes its ports available at a loopback address,
127.66.x.y, in the host's namespace and in those of the services that use it.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RELAY = Path(__file__).parent / "relay"
_BOOT = (
    "import sys; sys.path.append(sys.argv[1]); import relay; relay.main(int(sys.argv[2]), int(sys.argv[3]))"
)
GATEWAY = "198.18.0.1"
"""The hub's address, which all namespaces of a session can reach."""
_ADDRESSES = 256 * 254
_LINE_LIMIT = 1024 * 1024


class NetworkError(EngineError):
    """A namespace, forward or proxy cannot be created; ``number`` is the errno, 0 if there is none."""

    def __init__(self, what: str, *, number: int = 0, hint: str | None = None) -> None:
        super().__init__(what, hint=hint)
        self.number = number

    @property
    def taken(self) -> bool:
        """The address is in use, or this user may not listen there: another address may work."""
        return self.number in {errno.EADDRINUSE, errno.EACCES, errno.EPERM}


def join_command(namespace: Path) -> tuple[str, ...]:
    """The prefix that runs a command line in the network namespace at a path under /proc.

    The prefix ends in an exec of the command (no fork), so that process IDs and death
    signals are the command's own.
    """
    nsenter = shutil.which("nsenter")
    if nsenter is not None:
        return (nsenter, f"--net={namespace}", "--")
    return (sys.executable, "-I", "-S", str(_RELAY / "enter.py"), str(namespace))


@dataclass(frozen=True, slots=True)
class Namespace:
    """A private network namespace; ``path`` is where other processes enter it.

    ``address`` is its address in the session's network, which joins all namespaces of the session
    but not the host; None if the kernel cannot join them.
    """

    number: int
    path: Path
    address: str | None = None


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """A numeric address and port in a namespace; None is the host's."""

    namespace: Namespace | None
    address: str
    port: int

    def listening(self) -> list[Any]:
        """The form in which the relay's requests name an address to listen on."""
        return [self.namespace and self.namespace.number, self.address, self.port]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to connect: numeric addresses to try in order, as seen from a namespace."""

    namespace: Namespace | None
    addresses: tuple[str, ...]
    port: int

    def dialled(self) -> list[Any]:
        """The form in which the relay's requests name a destination."""
        return [self.namespace and self.namespace.number, list(self.addresses), self.port]


@dataclass(frozen=True, slots=True)
class Forward:
    """A running forward or proxy, and the port that it listens on."""

    number: int
    port: int


class Relay:
    """The relay process of a session; starts when it is first needed.

    Use it from the engine's event loop; several tasks may have requests pending.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next = 1
        self._got = b""
        self.hub: Namespace | None = None

    @property
    def running(self) -> bool:
        """Whether the process runs; without it, all its namespaces and forwards are gone."""
        return self._control is not None

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            command = [sys.executable, "-I", "-S", "-c", _BOOT, str(_RELAY.parent), str(fd), str(os.getpid())]
            # From the event loop's own thread: the kernel sends the death signal when that thread ends.
            self._process = subprocess.Popen(
                command,
                pass_fds=[fd],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={"LC_ALL": "C"},
            )
        ours.setblocking(False)
        self._control, self._got = ours, b""
        asyncio.get_running_loop().add_reader(ours, self._read)

    def _read(self) -> None:
        control = self._control
        if control is None:
            return
        try:
            data = control.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        *lines, self._got = (self._got + data).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            waiting = self._waiting.pop(answer.pop("id"), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)

    def _lost(self) -> None:
        control, self._control = self._control, None
        self.hub = None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control)
            control.close()
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(NetworkError("the network relay of this session ended unexpectedly"))

    async def _ask(self, operation: str, what: str, **fields: Any) -> dict[str, Any]:
        if self._control is None:
            self._start()
        if self._control is None:
            raise NetworkError("the network relay cannot be started")
        number = self._next
        self._next += 1
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        line = json.dumps({"id": number, "op": operation, **fields}).encode() + b"\n"
        try:
            # A line is much smaller than the socket's buffer, and the relay always reads.
            self._control.sendall(line)
        except OSError as error:
            self._lost()
            raise NetworkError(
                "the network relay of this session is gone", number=error.errno or 0
            ) from error
        try:
            answer = await future
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            raise NetworkError(f"{what}: {answer['error']}", number=answer["errno"])
        return answer

    async def namespace(self) -> Namespace:
        """Create a private namespace; raises NetworkError if the machine forbids it."""
        answer = await self._ask("namespace", "cannot make a network namespace")
        hub = answer["hub"]
        self.hub = None if hub is None else Namespace(hub, Path())
        return Namespace(answer["namespace"], Path(answer["path"]), answer["address"])

    async def hub_address(self) -> str:
        """An address of the hub, where it listens for all namespaces of the session."""
        answer = await self._ask("hub_address", "cannot add an address")
        return str(answer["address"])

    async def drop(self, namespace: Namespace) -> None:
        """Release a namespace: it ends with the last process in it."""
        if self.running:
            await self._ask("drop", "cannot release a network namespace", namespace=namespace.number)

    async def claim(self) -> str:
        """Reserve a loopback address, 127.66.x.y, that no other session of this machine uses."""
        start = secrets.randbelow(_ADDRESSES)
        for step in range(_ADDRESSES):
            high, low = divmod((start + step) % _ADDRESSES, 254)
            address = f"127.66.{high}.{low + 1}"
            try:
                await self._ask("claim", f"cannot take the address {address}", address=address)
            except NetworkError as error:
                if error.number != errno.EADDRINUSE:
                    raise
            else:
                return address
        raise NetworkError("all addresses of 127.66.0.0/16 are in use by services")

    async def release(self, address: str) -> None:
        """Release a reserved address."""
        if self.running:
            await self._ask("release", f"cannot release {address}", address=address)

    async def forward(self, listen: SocketAddress, dial: Destination, *, protocol: str = "TCP") -> Forward:
        """Forward a listening address to a destination; raises NetworkError (see ``taken``)."""
        answer = await self._ask(
            "forward",
            f"cannot listen on {listen.address}:{listen.port}/{protocol.lower()}",
            protocol=protocol,
            listen=listen.listening(),
            dial=dial.dialled(),
        )
        return Forward(answer["forward"], answer["port"])

    async def proxy(
        self,
        listen: SocketAddress,
        *,
        upstream: Mapping[str, Sequence[Any]] | None = None,
        bypass: Sequence[str] = (),
        loopback: bool = False,
    ) -> Forward:
        """Start an HTTP proxy; ``upstream`` maps a scheme to the host's proxy: host, port, authorization.

        ``bypass`` are NO_PROXY's patterns, ``loopback`` whether it may connect to the host's loopback.
        """
        answer = await self._ask(
            "proxy",
            f"cannot start a proxy on {listen.address}:{listen.port}",
            listen=listen.listening(),
            upstream={scheme: list(value) for scheme, value in (upstream or {}).items()},
            bypass=list(bypass),
            loopback=loopback,
        )
        return Forward(answer["forward"], answer["port"])

    async def allow_egress(self, namespace: Namespace) -> None:
        """Let a namespace reach by TCP and UDP what the host reaches, except the host's loopback.

        Raises NetworkError if the kernel cannot redirect connections.
        """
        await self._ask("egress", "cannot open a way out of a network namespace", namespace=namespace.number)

    async def close(self, forward: Forward) -> None:
        """End a forward or proxy; established connections continue."""
        if self.running:
            await self._ask("close", "cannot end a forward", forward=forward.number)

    async def probe(self, dial: Destination) -> bool:
        """Whether a TCP connection to the destination succeeds now."""
        try:
            await self._ask("probe", "cannot connect", dial=dial.dialled())
        except NetworkError:
            if not self.running:
                raise
            return False
        return True

    def stop(self) -> None:
        """End the relay and everything it holds; a later request starts a new one."""
        self._lost()
