"""Whether a real Dagger engine is within reach of a job, and by what.

The real CLI looks in this order: an engine that ``_EXPERIMENTAL_DAGGER_RUNNER_HOST``
names, then a container runtime to start one with. Between the two stands the socket
of an engine that runs on each node of a Kubernetes cluster, where Dagger's Helm chart
puts it: the CLI has to be told of it, which is done here.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNNER_HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
NODE_SOCKET = Path("/run/dagger/engine.sock")
RUNTIMES = ("docker", "podman", "nerdctl", "finch")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEndpoint:
    """A real engine that a CLI would find. ``environment`` is what the CLI has to be told besides."""

    by: Literal["runner host", "node socket", "runtime"]
    name: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.by == "runner host":
            return f"{RUNNER_HOST} names {shown(self.name)}"
        if self.by == "node socket":
            return f"an engine answers at {self.name}"
        return f"{self.name} answers, and can start one"

    def unanswered(self) -> str:
        """That nothing answers at the named runner host, and why; empty if something does, or none can say.

        A CLI goes on trying there for ten minutes, and says nothing.
        """
        problem = silent(self.name) if self.by == "runner host" else ""
        return f"nothing answers at {shown(self.name)}: {problem}" if problem else ""


def find_engine(environ: Mapping[str, str], *, timeout: float = 2.0) -> EngineEndpoint | None:
    """What leads a real CLI to an engine, if anything does."""
    running = running_engine(environ, timeout=timeout)
    if running is not None:
        return running
    for runtime in RUNTIMES:
        command = shutil.which(runtime, path=environ.get("PATH", os.defpath))
        if command is not None and _answers(command, environ, timeout):
            return EngineEndpoint(by="runtime", name=runtime)
    return None


def running_engine(environ: Mapping[str, str], *, timeout: float = 2.0) -> EngineEndpoint | None:
    """The engine that runs already, as far as that can be told without asking a container runtime for one."""
    if named := environ.get(RUNNER_HOST):
        return EngineEndpoint(by="runner host", name=named)
    if NODE_SOCKET.exists() and not silent(f"unix://{NODE_SOCKET}", timeout=timeout):
        address = f"unix://{NODE_SOCKET}"
        return EngineEndpoint(by="node socket", name=str(NODE_SOCKET), environment={RUNNER_HOST: address})
    return None


def _answers(command: str, environ: Mapping[str, str], timeout: float) -> bool:
    try:
        done = subprocess.run(
            [command, "info"], capture_output=True, timeout=timeout, check=False, env=dict(environ)
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def silent(address: str, *, timeout: float = 2.0) -> str:
    """Why nothing answers at a runner host of a kind that can be asked; empty if something does."""
    parts = urlsplit(address)
    try:
        if parts.scheme == "unix":
            path = parts.netloc + parts.path
            if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 - a text, as it was given
                return "it is no socket"
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(timeout)
                client.connect(path)
        elif parts.scheme in {"tcp", "tls"} and parts.hostname and parts.port:
            with socket.create_connection((parts.hostname, parts.port), timeout=timeout):
                pass
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:
        return str(error)
    return ""


def shown(address: str) -> str:
    """The address of a runner host without credentials and parameters."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
