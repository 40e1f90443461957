"""The engine that the recorded cases are replayed against: the embedded one, or one that is given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import yaml
from replaying import DEPARTURES, SINGLE_ID, Door, free_port, is_embedded

from rondel.engine.server.launcher import EmbeddedSession

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def departures() -> dict[str, str]:
    """The cases that the engine is known to answer differently here, and why."""
    if not is_embedded():
        return {}
    # In a process of its own, which it moves into other namespaces.
    program = "from rondel.engine.namespace import become_root; print(become_root().mode.value)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return DEPARTURES | (SINGLE_ID if told.stdout.strip() == "single" else {})


@pytest.fixture(scope="session")
def base() -> str:
    return os.environ.get("BASE", "host" if is_embedded() else "debian:bookworm")


@pytest.fixture(scope="session")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Door]]:
    """Two sessions of one engine; of a given engine, those that the environment names."""
    if not is_embedded():
        names = [name for name in ("DAGGER_SESSION", "SECOND_SESSION") if f"{name}_PORT" in os.environ]
        given = [Door(int(os.environ[f"{n}_PORT"]), os.environ[f"{n}_TOKEN"]) for n in names]
        yield given
        for door in given:
            door.close()
        return
    home = os.environ.get("RONDEL_ENGINE_HOME")
    store = Path(home) if home else tmp_path_factory.mktemp("store")
    with EmbeddedSession.open(store=store) as one, EmbeddedSession.open(store=store) as two:
        started = [Door(session.port, session.token) for session in (one, two)]
        yield started
        for door in started:
            door.close()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """A registry that accepts pushes: the one that REGISTRY names, or Debian's on loopback."""
    program = shutil.which("docker-registry")
    if "REGISTRY" in os.environ or program is None:
        yield os.environ.get("REGISTRY")
        return
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    config = folder / "config.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "version": 0.1,
                "log": {"level": "error"},
                "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                "http": {"addr": f"127.0.0.1:{port}"},
            }
        )
    )
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([program, "serve", str(config)], stdout=quiet, stderr=quiet)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                httpx.get(f"http://127.0.0.1:{port}/v2/", trust_env=False)
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
