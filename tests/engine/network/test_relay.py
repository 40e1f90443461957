"""The relay between real namespaces: data, half-closes, resets, UDP, claims, the end."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rondel.engine.sandbox.network import Destination, NetworkError, Relay, SocketAddress, join_command

pytestmark = pytest.mark.anyio


async def published(relay, namespace, port, **options):
    """Forward a free port of an own address of the host to ``port`` in the namespace."""
    address = await relay.claim()
    forward = await relay.forward(
        SocketAddress(None, address, 0), Destination(namespace, ("127.0.0.1", "::1"), port), **options
    )
    return address, forward


async def test_two_servers_on_one_port_coexist(relay, server_in, exchange):
    one, two = await relay.namespace(), await relay.namespace()
    server_in(one, "name", 8000, "one")
    server_in(two, "name", 8000, "two")
    first, second = await published(relay, one, 8000), await published(relay, two, 8000)
    assert await exchange(first[0], first[1].port) == b"one"
    assert await exchange(second[0], second[1].port) == b"two"


async def test_low_ports_open_to_any_user_inside_a_namespace(relay, server_in, exchange):
    namespace = await relay.namespace()
    server_in(namespace, "name", 80, "low")
    address, forward = await published(relay, namespace, 80)
    assert await exchange(address, forward.port) == b"low"
    shown = subprocess.check_output(
        [*join_command(namespace.path), "cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"], text=True
    )
    assert shown == "0\n"


async def test_namespace_reaches_another_by_a_listener_inside(relay, server_in):
    client, server = await relay.namespace(), await relay.namespace()
    server_in(server, "name", 80, "inner")
    await relay.forward(SocketAddress(client, "127.66.1.1", 80), Destination(server, ("127.0.0.1",), 80))
    script = "import socket; s = socket.create_connection(('127.66.1.1', 80)); s.shutdown(1); print(s.recv(99).decode())"
    command = [*join_command(client.path), sys.executable, "-c", script]
    shown = await asyncio.to_thread(subprocess.check_output, command, text=True)
    assert shown == "inner\n"


async def test_loopback_of_namespaces_is_their_own(relay, server_in):
    namespace = await relay.namespace()
    server_in(namespace, "name", 8095, "x")
    with socket.socket() as outside:
        assert outside.connect_ex(("127.0.0.1", 8095)) != 0


async def test_large_data_arrives_whole_in_both_directions(relay, server_in, exchange):
    namespace = await relay.namespace()
    server_in(namespace, "echo", 9000)
    address, forward = await published(relay, namespace, 9000)
    data = random.Random(1).randbytes(20_000_000)
    assert await exchange(address, forward.port, data) == data


async def test_half_close_reaches_the_server_and_its_answer_comes_back(relay, server_in, exchange):
    namespace = await relay.namespace()
    server_in(namespace, "count", 9000)
    address, forward = await published(relay, namespace, 9000)
    assert await exchange(address, forward.port, b"x" * 3_000_000) == b"3000000"


async def test_many_connections_at_once(relay, server_in, exchange):
    namespace = await relay.namespace()
    server_in(namespace, "echo", 9000)
    address, forward = await published(relay, namespace, 9000)
    wanted = [str(number).encode() * 1000 for number in range(100)]
    assert await asyncio.gather(*(exchange(address, forward.port, data) for data in wanted)) == wanted


async def test_nobody_listening_resets_the_connection(relay, exchange):
    namespace = await relay.namespace()
    address, forward = await published(relay, namespace, 9)
    with pytest.raises(ConnectionError):
        await exchange(address, forward.port, b"hello")


async def test_server_that_dies_resets_its_connections(relay, server_in):
    namespace = await relay.namespace()
    server = server_in(namespace, "echo", 9000)
    address, forward = await published(relay, namespace, 9000)
    reader, writer = await asyncio.open_connection(address, forward.port)
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    server.kill()
    async with asyncio.timeout(10):
        try:
            assert await reader.read() == b""
        except ConnectionError:
            pass
    writer.close()


async def test_servers_on_the_ipv6_loopback_only_are_found(relay, server_in, exchange):
    namespace = await relay.namespace()
    server_in(namespace, "name", 9000, "six", host="::1", family=socket.AF_INET6)
    address, forward = await published(relay, namespace, 9000)
    assert await exchange(address, forward.port) == b"six"


async def test_datagrams_go_there_and_back_each_to_its_sender(relay, server_in):
    namespace = await relay.namespace()
    server_in(namespace, "udp", 5300)
    address, forward = await published(relay, namespace, 5300, protocol="UDP")
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        for sender, text in ((one, b"1"), (two, b"2"), (one, b"3")):
            sender.settimeout(10)
            sender.sendto(text, (address, forward.port))
            data, source = await asyncio.to_thread(sender.recvfrom, 99)
            assert (data, source) == (b"udp:" + text, (address, forward.port))


async def test_probe_tells_whether_somebody_listens(relay, server_in):
    namespace = await relay.namespace()
    where = Destination(namespace, ("127.0.0.1",), 9000)
    assert not await relay.probe(where)
    server_in(namespace, "echo", 9000)
    assert await relay.probe(where)


async def test_taken_port_is_told_apart(relay):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NetworkError) as caught:
            await relay.forward(SocketAddress(None, "127.0.0.1", port), Destination(None, ("127.0.0.1",), 1))
    assert caught.value.taken


async def test_closed_forward_frees_its_port_and_keeps_standing_connections(relay, server_in):
    namespace = await relay.namespace()
    server_in(namespace, "echo", 9000)
    address, forward = await published(relay, namespace, 9000)
    reader, writer = await asyncio.open_connection(address, forward.port)
    writer.write(b"open")
    assert await reader.readexactly(4) == b"open"
    await relay.close(forward)
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(address, forward.port)
    writer.write(b"still")
    assert await reader.readexactly(5) == b"still"
    writer.close()


async def test_sessions_never_share_an_address():
    relays = [Relay() for _ in range(4)]
    try:
        claims = await asyncio.gather(*(relay.claim() for relay in relays for _ in range(30)))
        assert len(set(claims)) == 120
        with pytest.raises(NetworkError) as caught:
            await relays[0]._ask("claim", "x", address=claims[-1])
        assert caught.value.taken
    finally:
        for relay in relays:
            relay.stop()


async def test_killed_relay_frees_its_claims_and_another_starts(relay):
    address = await relay.claim()
    os.kill(relay._process.pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while relay.running:
            await asyncio.sleep(0.005)
    await relay._ask("claim", "x", address=address)
    assert relay.running


async def test_relay_and_namespaces_end_with_the_engine():
    script = (
        "import asyncio, os, signal\n"
        "from rondel.engine.sandbox.network import Relay\n"
        "async def main():\n"
        "    relay = Relay()\n"
        "    namespace = await relay.namespace()\n"
        "    print(relay._process.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == -signal.SIGKILL
    relay = Path("/proc", done.stdout.strip())
    until = time.monotonic() + 10
    while relay.exists() and "Z" not in (relay / "stat").read_text().split()[2]:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


async def test_proxy_gives_a_namespace_a_way_out_but_not_to_the_hosts_loopback(relay, server_in):
    namespace = await relay.namespace()
    server_in(None, "name", 18765, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", host="0.0.0.0")
    await relay.proxy(SocketAddress(namespace, "127.66.0.1", 3128))
    outside = next(
        (info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)), "127.0.0.1"
    )

    async def fetch(host):
        script = (
            "import socket\n"
            "s = socket.create_connection(('127.66.0.1', 3128))\n"
            f"s.sendall(b'CONNECT {host}:18765 HTTP/1.1\\r\\n\\r\\n'); head = s.recv(999); s.shutdown(1)\n"
            "print(head.split()[1].decode(), s.makefile().read()[-2:])"
        )
        command = [*join_command(namespace.path), sys.executable, "-c", script]
        return await asyncio.to_thread(subprocess.check_output, command, text=True)

    assert (await fetch("127.0.0.1")).split() == ["403"]
    assert (await fetch("localhost")).split() == ["403"]
    assert (await fetch("no-such-name.invalid")).split() == ["502"]
    if not outside.startswith("127."):
        assert (await fetch(outside)).split() == ["200", "hi"]


async def test_namespaces_reach_each_other_on_any_port_without_forwards(relay, server_in):
    client, server = await relay.namespace(), await relay.namespace()
    if client.address is None:
        pytest.skip("this kernel has no veth")
    server_in(server, "name", 7777, "direct", host="0.0.0.0")
    server_in(client, "name", 7777, "own", host="0.0.0.0")
    shown = await asyncio.to_thread(
        subprocess.check_output, [*join_command(client.path), *ask(server.address, 7777)]
    )
    assert shown == b"direct\n"


async def test_hub_listens_for_all_namespaces_and_dials_the_host(relay, server_in):
    namespace = await relay.namespace()
    if relay.hub is None:
        pytest.skip("this kernel has no veth")
    server_in(None, "name", 18766, "host")
    address = await relay.hub_address()
    await relay.forward(SocketAddress(relay.hub, address, 80), Destination(None, ("127.0.0.1",), 18766))
    shown = await asyncio.to_thread(
        subprocess.check_output, [*join_command(namespace.path), *ask(address, 80)]
    )
    assert shown == b"host\n"


def ask(address, port):
    script = f"import socket; s = socket.create_connection(('{address}', {port}), 10); s.shutdown(1)\n"
    return [sys.executable, "-c", script + "print(s.recv(99).decode())"]


TALK = """
import socket, sys
kind, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(10)
try:
    s.connect((host, port)); s.send(b"hello"); print(s.recv(99).decode())
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture
def outside():
    """An address of the machine that is not its loopback: what stands for the outside."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but its loopback")
        return probe.getsockname()[0]


async def with_egress(relay):
    namespace = await relay.namespace()
    try:
        await relay.allow_egress(namespace)
    except NetworkError as error:
        pytest.skip(f"this kernel cannot redirect: {error}")
    return namespace


async def talk(namespace, *args):
    command = [*join_command(namespace.path), sys.executable, "-c", TALK, *map(str, args)]
    return (await asyncio.to_thread(subprocess.check_output, command, text=True)).strip()


async def test_a_namespace_with_egress_reaches_any_port_by_tcp_and_udp(relay, server_in, outside):
    server_in(None, "echo", 7701, host=outside)
    server_in(None, "udp", 7702, host=outside)
    one, two = await with_egress(relay), await with_egress(relay)
    for namespace in (one, two):
        assert await talk(namespace, "tcp", outside, 7701) == "hello"
        assert await talk(namespace, "udp", outside, 7702) == "udp:hello"


async def test_a_namespace_with_egress_learns_that_nobody_listens(relay, outside):
    assert await talk(await with_egress(relay), "tcp", outside, 7703) == "ConnectionResetError"


async def test_a_namespace_with_egress_does_not_reach_the_loopback_of_the_host(relay, server_in):
    server_in(None, "echo", 7704)
    namespace = await with_egress(relay)
    assert await talk(namespace, "tcp", "127.0.0.1", 7704) == "ConnectionRefusedError"


async def test_namespaces_with_egress_still_reach_each_other(relay, server_in):
    client, server = await with_egress(relay), await with_egress(relay)
    server_in(server, "echo", 7705, host=server.address)
    assert await talk(client, "tcp", server.address, 7705) == "hello"
    assert await talk(client, "tcp", server.address, 7706) == "ConnectionRefusedError"
