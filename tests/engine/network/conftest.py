"""Relays for the network tests, which need namespaces: as root, or in a user namespace of one's own."""

import asyncio
import contextlib
import socket
import subprocess
import sys

import pytest

from rondel.engine import namespace
from rondel.engine.sandbox.network import Relay, join_command


@pytest.fixture(scope="session", autouse=True)
def _root():
    """The relay belongs to an engine, which has become root of some namespace."""
    namespace.become_root()


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def relay():
    made = Relay()
    yield made
    made.stop()


SERVER = """
import socket, sys, threading
kind, family, host, port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
if kind == "udp":
    s = socket.socket(family, socket.SOCK_DGRAM); s.bind((host, port)); print("up", flush=True)
    while True:
        data, sender = s.recvfrom(65536); s.sendto(b"udp:" + data, sender)
s = socket.socket(family); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((host, port)); s.listen(64); print("up", flush=True)
def serve(c):
    data = b""
    while piece := c.recv(65536):
        if kind == "echo": c.sendall(piece)
        data += piece if kind == "count" else b""
    if kind == "count": c.sendall(str(len(data)).encode())
    if kind == "name": c.sendall(sys.argv[5].encode())
    c.close()
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


@pytest.fixture
def server_in():
    """Start a small server in a namespace (None: the host's): ``server_in(namespace, kind, port, …)``."""
    with contextlib.ExitStack() as stack:

        def start(namespace, kind, port, *extra, host="127.0.0.1", family=socket.AF_INET):
            prefix = join_command(namespace.path) if namespace else ()
            process = subprocess.Popen(
                [*prefix, sys.executable, "-c", SERVER, kind, str(int(family)), host, str(port), *extra],
                stdout=subprocess.PIPE,
            )
            stack.callback(process.stdout.close)
            stack.callback(process.wait)
            stack.callback(process.kill)
            assert process.stdout.readline() == b"up\n"
            return process

        yield start


async def talk(address, port, data=b"", *, limit=30.0):
    """Send data, half-close, and give back everything that comes."""
    async with asyncio.timeout(limit):
        reader, writer = await asyncio.open_connection(address, port)
        sending = asyncio.ensure_future(_send(writer, data))
        got = await reader.read()
        await sending
        writer.close()
        await writer.wait_closed()
        return got


async def _send(writer, data):
    writer.write(data)
    await writer.drain()
    writer.write_eof()


@pytest.fixture
def exchange():
    return talk
