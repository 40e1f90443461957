"""Services of a session: started once, shared, counted, stopped, and told apart when they fail."""

import asyncio
import contextlib
import signal
import socket
import socketserver
import sys
import threading
import time
import urllib.request

import anyio
import pytest

from rondel.engine.evaluate.errors import ExecError
from rondel.engine.evaluate.services import ServiceError
from rondel.engine.evaluate.services import lifecycle as services_module
from rondel.engine.sandbox import JoinNetwork, Network
from rondel.engine.sandbox.network import join_command
from rondel.engine.values import Port
from rondel.engine.values.service import HostService, PortForward, Tunnel, hostname_of

pytestmark = pytest.mark.anyio


def address_of(attachment, name):
    return next(address for address, known in attachment.hosts if known == name)


async def get(address, port):
    url = f"http://{address}:{port}/"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return await asyncio.to_thread(lambda: opener.open(url, timeout=10).read().decode())


async def get_by(attachment, name, port):
    """What a command with this attachment gets from a service: in the host's network or in its own."""
    address = address_of(attachment, name)
    if attachment.network is Network.HOST:
        return await get(address, port)
    script = (
        f"import urllib.request as u; print(u.urlopen('http://{address}:{port}/').read().decode(), end='')"
    )
    command = [*join_command(attachment.network.path), sys.executable, "-c", script]
    return (await anyio.run_process(command)).stdout.decode()


async def test_bound_service_answers_by_its_alias_and_its_hostname(services, web):
    service = web(8000, "one")
    async with services.bound([("web", service)]) as attachment:
        assert attachment.network is Network.HOST
        assert await get(address_of(attachment, "web"), 8000) == "one"
        assert address_of(attachment, hostname_of(service)) == address_of(attachment, "web")


async def test_two_services_on_one_low_port_coexist(services, web):
    async with services.bound([("a", web(80, "A")), ("b", web(80, "B"))]) as attachment:
        for name in "ab":
            assert await get_by(attachment, name, 80) == name.upper()


async def test_identical_services_asked_for_at_once_start_once(session, services, web):
    service = web(8000, "x")

    async def use():
        async with services.bound([("web", service)]) as attachment:
            return await get(address_of(attachment, "web"), 8000)

    assert await asyncio.gather(*(use() for _ in range(5))) == ["x"] * 5
    assert len(session.sandbox.started) == 1


async def test_started_service_is_known_by_its_hostname_without_a_binding(services, web):
    service = web(8000, "known")
    await services.start(service)
    async with services.bound([]) as attachment:
        assert await get(address_of(attachment, hostname_of(service)), 8000) == "known"
    await services.stop(service)
    async with services.bound([]) as attachment:
        assert attachment.hosts == ()


async def test_start_and_stop_may_be_repeated(session, services, web):
    service = web(8000, "x")
    await services.start(service)
    await services.start(service)
    await services.stop(service)
    await services.stop(service)
    await services.stop(service, kill=True)
    assert len(session.sandbox.started) == 1
    assert session.sandbox.started[0].popen.poll() is not None
    await services.start(service)
    assert len(session.sandbox.started) == 2


async def test_unused_service_stops_after_its_grace(session, services, web, monkeypatch):
    monkeypatch.setattr(services_module, "DETACH_SECONDS", 0.1)
    service = web(8000, "x")
    async with services.bound([("web", service)]):
        process = session.sandbox.started[0]
        assert process.popen.poll() is None
    with anyio.fail_after(10):
        while process.popen.poll() is None or services.all:
            await anyio.sleep(0.01)


async def test_service_used_again_within_its_grace_goes_on(session, services, web, monkeypatch):
    monkeypatch.setattr(services_module, "DETACH_SECONDS", 0.3)
    service = web(8000, "x")
    for _ in range(4):
        async with services.bound([("web", service)]) as attachment:
            assert await get(address_of(attachment, "web"), 8000) == "x"
        await anyio.sleep(0.1)
    assert len(session.sandbox.started) == 1


async def test_explicitly_started_service_outlives_its_users(session, services, web, monkeypatch):
    monkeypatch.setattr(services_module, "DETACH_SECONDS", 0.05)
    service = web(8000, "x")
    await services.start(service)
    async with services.bound([("web", service)]):
        pass
    await anyio.sleep(0.3)
    assert session.sandbox.started[0].popen.poll() is None


async def test_command_waits_until_the_port_is_open(services, web):
    late = "import time, http.server; time.sleep(0.5); http.server.test(port=8000, bind='127.0.0.1')"
    service = web(8000, "late", args=(sys.executable, "-c", late))
    async with services.bound([("web", service)]) as attachment:
        with socket.create_connection((address_of(attachment, "web"), 8000), timeout=5):
            pass


async def test_service_that_ends_before_it_is_healthy_fails_at_once_with_its_output(services, web):
    service = web(8000, "x", args=(sys.executable, "-c", "import sys; sys.exit('no such table')"))
    started = time.monotonic()
    with pytest.raises(ExecError) as caught:
        async with services.bound([("db", service)]):
            pytest.fail("must not be entered")
    assert time.monotonic() - started < 8
    assert caught.value.exit == 1
    assert "aliased as db" in str(caught.value)
    assert "exit code: 1" in str(caught.value)


async def test_service_that_ends_well_before_it_is_healthy_is_an_error_too(services, web):
    with pytest.raises(ServiceError, match="service exited before healthcheck"):
        await services.start(web(8000, "x", args=("true",)))


async def test_service_without_ports_may_end(services, web):
    service = web(0, "x", args=("true",), ports=())
    await services.start(service)
    async with services.bound([("gone", service)]):
        pass


async def test_port_without_health_check_is_not_waited_for(services, web):
    port = Port(9, "TCP", None, experimental_skip_healthcheck=True)
    service = web(9, "x", args=("sleep", "60"), ports=(port,))
    with anyio.fail_after(10):
        await services.start(service)
        await services.stop(service, kill=True)


async def test_service_that_ignores_sigterm_is_killed(session, services, web, monkeypatch):
    monkeypatch.setattr(services_module, "TERMINATE_SECONDS", 0.2)
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(99)"
    service = web(0, "x", args=(sys.executable, "-c", stubborn), ports=())
    await services.start(service)
    await anyio.sleep(0.3)
    await services.stop(service)
    assert session.sandbox.started[0].popen.returncode == -signal.SIGKILL


async def test_service_is_killed_when_nobody_waits_for_its_end_any_more(session, services, web):
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(99)"
    service = web(0, "x", args=(sys.executable, "-c", stubborn), ports=())
    await services.start(service)
    await anyio.sleep(0.3)
    with anyio.move_on_after(0.1):
        await services.stop(service)
    with anyio.fail_after(5):
        await services.start(service)  # waits for the end of the first
    assert [process.popen.returncode for process in session.sandbox.started] == [-signal.SIGKILL, None]


async def test_service_whose_user_left_as_it_was_up_ends_after_its_grace(session, services, web, monkeypatch):
    monkeypatch.setattr(services_module, "DETACH_SECONDS", 0.1)
    service = web(8000, "x")
    started = services._start

    async def start_and_leave(wanted):
        running = await started(wanted)
        user.cancel()
        return running

    monkeypatch.setattr(services, "_start", start_and_leave)
    with anyio.CancelScope() as user:
        await services.start(service)
    assert user.cancelled_caught
    with anyio.fail_after(10):
        while session.sandbox.started[0].popen.poll() is None or services.all:
            await anyio.sleep(0.01)


async def test_service_reaches_the_service_bound_to_it(session, services, web):
    back = web(80, "from behind")
    script = (
        "import http.server, urllib.request\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        text = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(URL).read()\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(b'got ' + text)\n"
        "http.server.HTTPServer(('', 80), H).serve_forever()\n"
    )
    # Plain processes have no /etc/hosts of their own: look the address up first.
    running = await services.start(back)
    address = running.namespace.address or "127.66.0.2"
    own = (sys.executable, "-c", script.replace("URL", f"'http://{address}/'"))
    front = web(80, "front", args=own, bound=[("back", back)])
    async with services.bound([("front", front)]) as attachment:
        if attachment.network is Network.HOST:
            assert await get(address_of(attachment, "front"), 80) == "got from behind"
    spec = session.sandbox.started[-1].spec
    assert (address, "back") in spec.hosts
    assert hostname_of(front) in [name for _, name in spec.hosts]


async def test_port_taken_on_the_host_gives_the_command_a_network_of_its_own(services, web):
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        service = web(port, "inside")
        async with services.bound([("web", service)]) as attachment:
            assert isinstance(attachment.network, JoinNetwork)
            address = address_of(attachment, "web")
            script = (
                f"import urllib.request as u; print(u.urlopen('http://{address}:{port}/').read().decode())"
            )
            command = [*join_command(attachment.network.path), sys.executable, "-c", script]
            shown = await anyio.run_process(command)
            assert shown.stdout == b"inside\n"
            assert "web" in attachment.env.get("no_proxy", "web")


class Greeter(socketserver.BaseRequestHandler):
    """Greets every connection, also those by which the engine finds out whether a port is in use."""

    def handle(self):
        with contextlib.suppress(OSError):
            self.request.sendall(b"up")


@contextlib.contextmanager
def greeter(port=0):
    """A server on the host's loopback; its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", port), Greeter) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


async def greeting(address, port):
    """What a client at an address and port receives."""

    def received():
        with socket.create_connection((address, port), timeout=5) as client:
            return client.recv(10)

    return await asyncio.to_thread(received)


async def test_host_port_is_reached_as_a_service(services):
    with greeter() as port:
        for forward in (PortForward(backend=port), PortForward(backend=port, frontend=port + 1)):
            service = HostService(key=f"{forward.front:040x}", host="localhost", forwards=(forward,))
            async with services.bound([("up", service)]) as attachment:
                assert await greeting(address_of(attachment, "up"), forward.front) == b"up"


async def test_host_service_need_not_be_up_when_it_is_bound(services):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = HostService(key="a" * 40, host="localhost", forwards=(PortForward(backend=port),))
    async with services.bound([("up", service)]) as attachment:
        with greeter(port):
            assert await greeting(address_of(attachment, "up"), port) == b"up"


async def test_tunnel_brings_a_service_onto_the_host(services, web):
    tunnel = Tunnel(key="b" * 40, upstream=web(80, "through"), forwards=(PortForward(backend=80),))
    running = await services.start(tunnel)
    assert await get("127.0.0.1", running.ports[0].port) == "through"
    await services.stop(tunnel)
    with pytest.raises(OSError):
        await get("127.0.0.1", running.ports[0].port)


async def test_tunnel_that_does_not_run_says_so(services, web):
    tunnel = Tunnel(key="b" * 40, upstream=web(80, "x"), forwards=(PortForward(backend=80),))
    with pytest.raises(ServiceError, match=r"service s\w{12} is not running"):
        services.get(tunnel)


async def test_tunnel_to_a_taken_port_fails_clearly(services, web):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tunnel = Tunnel(
            key="c" * 40, upstream=web(80, "x"), forwards=(PortForward(backend=80, frontend=port),)
        )
        with pytest.raises(ServiceError, match=f"host to container: cannot listen on 127.0.0.1:{port}"):
            await services.start(tunnel)


async def test_start_is_cancelled_with_its_last_waiter_and_leaves_nothing(session, services, web):
    never = web(8000, "x", args=("sleep", "60"))
    with anyio.move_on_after(0.5):
        await services.start(never)
    with anyio.fail_after(10):
        while session.sandbox.started[0].popen.poll() is None:
            await anyio.sleep(0.01)
    assert not services._running


async def test_everything_ends_with_the_session(session, services, web):
    await services.start(web(8000, "x"))
    await services.start(web(8001, "y"))
    await services.aclose()
    assert all(process.popen.poll() is not None for process in session.sandbox.started)
    assert not services.routes.relay.running


async def test_service_that_ends_is_started_again_by_the_next_user(session, services, web):
    service = web(8000, "x")
    await services.start(service)
    session.sandbox.started[0].popen.kill()
    with anyio.fail_after(10):
        while service.key in services._running:
            await anyio.sleep(0.01)
    async with services.bound([("web", service)]) as attachment:
        assert await get(address_of(attachment, "web"), 8000) == "x"
    assert len(session.sandbox.started) == 2
