"""Finds a real Dagger engine that is reachable.

The real CLI uses the engine that ``_EXPERIMENTAL_DAGGER_RUNNER_HOST`` names, or else
starts one with a container runtime. Between the two, Rondel looks for the socket that
Dagger's Helm chart creates on each node of a Kubernetes cluster. The CLI does not
look there, so Rondel sets the variable for it.
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
    """A real engine that the CLI can use; ``environment`` has the variables that the CLI needs for it."""

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
        """The problem if nothing answers at the runner host; empty if it answers, or can't be probed.

        The CLI silently keeps retrying there for ten minutes.
        """
        problem = connection_problem(self.name) if self.by == "runner host" else ""
        return f"nothing answers at {shown(self.name)}: {problem}" if problem else ""


def find_engine(environ: Mapping[str, str], *, timeout: float = 2.0) -> EngineEndpoint | None:
    """The engine that the real CLI would use or start, if any."""
    running = running_engine(environ, timeout=timeout)
    if running is not None:
        return running
    for runtime in RUNTIMES:
        command = shutil.which(runtime, path=environ.get("PATH", os.defpath))
        if command is not None and _answers(command, environ, timeout):
            return EngineEndpoint(by="runtime", name=runtime)
    return None


def running_engine(environ: Mapping[str, str], *, timeout: float = 2.0) -> EngineEndpoint | None:
    """The engine that already runs; does not probe container runtimes."""
    if named := environ.get(RUNNER_HOST):
        return EngineEndpoint(by="runner host", name=named)
    if NODE_SOCKET.exists() and not connection_problem(f"unix://{NODE_SOCKET}", timeout=timeout):
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


def connection_problem(address: str, *, timeout: float = 2.0) -> str:
    """Why nothing answers at a runner host; empty if it answers, or if its scheme can't be probed."""
    parts = urlsplit(address)
    try:
        if parts.scheme == "unix":
            path = parts.netloc + parts.path
            if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 - a text, as it was given
                return "not a socket"
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
