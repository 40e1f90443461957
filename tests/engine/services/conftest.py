"""A session whose containers are plain processes of this machine, in the networks asked for."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio
import pytest

from rondel.engine import namespace
from rondel.engine.evaluate import Session
from rondel.engine.evaluate.services import SessionServices
from rondel.engine.sandbox import JoinNetwork, Outcome
from rondel.engine.sandbox.network import join_command
from rondel.engine.store import Output, Snapshot, Store
from rondel.engine.values import Container, Port
from rondel.engine.values.container import ContainerConfig
from rondel.engine.values.node import digest_of
from rondel.engine.values.service import ContainerService


class PlainProcess:
    def __init__(self, store, spec):
        self.store, self.spec = store, spec
        handle, self.log = tempfile.mkstemp(dir=store.scratch)
        os.close(handle)
        prefix = join_command(spec.network.path) if isinstance(spec.network, JoinNetwork) else ()
        with open(self.log, "wb") as out:
            self.popen = subprocess.Popen(
                [*prefix, *spec.args], env={**os.environ, **spec.env}, stdout=out, stderr=out
            )
        self.pid = self.popen.pid

    async def wait(self):
        while self.popen.poll() is None:
            await anyio.sleep(0.005)
        data = Path(self.log).read_bytes() if Path(self.log).exists() else b""
        output = Output(size=len(data), data=data)
        code = self.popen.returncode
        return Outcome(
            exit_code=code if code >= 0 else 128 - code,
            stdout=output,
            stderr=output,
            combined=output,
            snapshot=Snapshot(),
        )

    def signal(self, number):
        if self.popen.poll() is None:
            self.popen.send_signal(number)

    async def kill(self):
        self.signal(signal.SIGKILL)
        self.popen.wait()


class PlainSandbox:
    def __init__(self, store):
        self.store, self.started = store, []

    async def start(self, spec):
        process = PlainProcess(self.store, spec)
        self.started.append(process)
        return process


@pytest.fixture(scope="session", autouse=True)
def _root():
    """The relay belongs to an engine, which has become root of some namespace."""
    namespace.become_root()


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def session(tmp_path):
    store = Store.open(tmp_path / "store")
    made, ended = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def hold():  # a task group must be left by the task that entered it: not a fixture's
        async with anyio.create_task_group() as tasks:
            made.set_result(Session(store=store, sandbox=PlainSandbox(store), tasks=tasks))
            await ended.wait()
            await made.result().aclose()
            tasks.cancel_scope.cancel()

    holder = asyncio.ensure_future(hold())
    yield await made
    ended.set()
    await holder
    store.close()


@pytest.fixture
def services(session):
    return session.part(SessionServices)


SERVER = """
import http.server, sys, os, signal
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = sys.argv[2].encode()
        self.send_response(200); self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("", int(sys.argv[1])), H).serve_forever()
"""


@pytest.fixture
def web():
    def make(port, text, *, args=None, ports=None, bound=(), **options):
        exposed = ports if ports is not None else (Port(port),)
        args = args or (sys.executable, "-c", SERVER, str(port), text)
        container = Container(
            platform="linux/amd64",
            config=ContainerConfig(ports=tuple(exposed), env=(("PATH", os.environ["PATH"]),)),
            services=tuple(bound),
        )
        key = digest_of(list(args), [str(p) for p in exposed], text)
        return ContainerService(key=key, container=container, args=tuple(args), **options)

    return make
