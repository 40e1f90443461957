"""A store, a sandbox and the host image, shared by all tests of a process.

As an ordinary user, start pytest within namespaces of its own (see CONTRIBUTING):
threads of pytest-xdist would otherwise be in the way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import anyio
import pytest

from rondel.engine import namespace
from rondel.engine.images.host import HostImage, host_image
from rondel.engine.sandbox import ExecSpec, Outcome, Sandbox
from rondel.engine.store import Snapshot, Store

Run = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def identity() -> namespace.EngineIdentity:
    return namespace.become_root()


@pytest.fixture(scope="session")
def store(identity: namespace.EngineIdentity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = Store.open(tmp_path_factory.mktemp("e"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def sandbox(store: Store) -> Sandbox:
    return Sandbox(store)


@pytest.fixture(scope="session")
def image(store: Store) -> HostImage:
    return anyio.run(host_image, store)


@pytest.fixture(scope="session")
def base(image: HostImage) -> Snapshot:
    return image.snapshot


@pytest.fixture
def run(sandbox: Sandbox, image: HostImage) -> Run:
    """Run a command in the host image (or in ``root``)."""
    settings = dict(pair.split("=", 1) for pair in image.config.env)

    async def act(*args: str, **more: object) -> Outcome:
        root = more.pop("root", image.snapshot)
        env = settings | more.pop("env", {})  # type: ignore[operator]
        return await sandbox.run(ExecSpec(root=root, args=args, env=env, **more))  # type: ignore[arg-type]

    return act
