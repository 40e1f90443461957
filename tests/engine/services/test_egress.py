"""How a private network reaches the outside, where no program helps."""

from __future__ import annotations

import subprocess
import sys

import anyio
import pytest

from rondel.engine.evaluate import egress
from rondel.engine.sandbox.network import NetworkError, Relay, join_command

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _no_program(monkeypatch):
    monkeypatch.setattr(egress, "network_program", lambda: None)


@pytest.fixture
async def relay():
    made = Relay()
    yield made
    made.stop()


async def default_route(namespace):
    command = [*join_command(namespace.path), "cat", "/proc/net/route"]
    shown = await anyio.run_process(command)
    return any(line.split()[1] == "00000000" for line in shown.stdout.decode().splitlines()[1:])


async def redirects(relay):
    try:
        await relay.allow_egress(await relay.namespace())
    except NetworkError:
        return False
    return True


async def test_the_relay_needs_no_variables(relay):
    if not await redirects(relay):
        pytest.skip("this kernel cannot redirect")
    namespace = await relay.namespace()
    way = await egress.open_egress(relay, namespace, {})
    assert (dict(way.env), await default_route(namespace)) == ({}, True)
    await way.close()


async def test_the_proxy_of_the_machine_is_offered_besides(relay):
    namespace = await relay.namespace()
    way = await egress.open_egress(relay, namespace, {"https_proxy": "http://127.0.0.1:3128"}, names=["db"])
    assert way.env["HTTPS_PROXY"].startswith("http://")
    assert way.env["no_proxy"] == "localhost,127.0.0.1,::1,db"
    await way.close()


async def test_without_redirection_http_goes_by_the_proxy(relay, monkeypatch):
    async def cannot(_relay, _namespace):
        raise NetworkError("cannot open a way out of a network namespace")

    monkeypatch.setattr(Relay, "allow_egress", cannot)
    namespace = await relay.namespace()
    way = await egress.open_egress(relay, namespace, {})
    host, port = way.env["http_proxy"].removeprefix("http://").split(":")
    script = f"import socket; socket.create_connection(({host!r}, {port}), 5); print('open')"
    command = [*join_command(namespace.path), sys.executable, "-c", script]
    assert (await anyio.to_thread.run_sync(lambda: subprocess.check_output(command, text=True))) == "open\n"
    await way.close()
