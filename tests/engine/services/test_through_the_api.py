"""Services as pipelines see them: health checks, ends, and what those who need them are told."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engine.conftest import Queries

WEB = ["python3", "-m", "http.server", "8080", "-d", "/srv"]


def gql(value: object) -> str:
    return json.dumps(value)


def service(query: Queries, args: list[str], steps: str = "", rest: str = "") -> tuple[str, str]:
    """The ID and host name of a service."""
    opening = '{container{from(address:"host"){withNewFile(path:"/srv/hello",contents:"hello"){'
    answer = query.raw(
        f"{opening}{steps} asService(args:{gql(args)}){{id hostname}} {rest} }}}}}}}}{'}' * steps.count('{')}"
    )
    assert "errors" not in answer, answer
    found = answer["data"]
    while "asService" not in found:
        found = next(iter(found.values()))
    return found["asService"]["id"], found["asService"]["hostname"]


def client(bindings: dict[str, str], script: str, *, salt: str = "") -> str:
    bound = "".join(f"withServiceBinding(alias:{gql(k)},service:{gql(v)}){{" for k, v in bindings.items())
    command = f'withEnvVariable(name:"SALT",value:{gql(salt)}){{withExec(args:["sh","-c",{gql(script)}]){{stdout}}}}'
    return '{container{from(address:"host"){' + bound + command + "}" * len(bindings) + "}}}"


def fetch(name: str) -> str:
    return f"python3 -c \"import urllib.request as u; print(u.urlopen('http://{name}:8080/hello').read().decode())\""


def node(identity: str, rest: str) -> str:
    return f"{{node(id:{gql(identity)}){{... on Service{{{rest}}}}}}}"


@pytest.mark.parametrize("shell", [True, False])
def test_a_service_is_ready_when_its_health_check_passes_inside_of_it(query: Queries, shell: bool) -> None:
    check = ["touch /srv/checked; echo $NAME > /srv/hello"] if shell else ["sh", "-c", "touch /srv/checked"]
    wait = ["sh", "-c", "while ! [ -e /srv/checked ]; do sleep 0.05; done; exec " + " ".join(WEB)]
    steps = (
        'withEnvVariable(name:"NAME",value:"from the check"){withExposedPort(port:8080){'
        f"withDockerHealthcheck(args:{gql(check)},shell:{gql(shell)}){{"
    )
    identity, _ = service(query, wait, steps)
    script = f"for i in 1 2 3 4 5 6 7 8 9; do {fetch('web')} 2>/dev/null && break; sleep 0.2; done"
    assert query(client({"web": identity}, script)) == ("from the check\n\n" if shell else "hello\n")


def test_a_failing_health_check_fails_the_start_with_its_output(query: Queries) -> None:
    check = ["sh", "-c", "echo 'check said no' && echo 'eek an error' >&2 && exit 42"]
    steps = f'withDockerHealthcheck(args:{gql(check)},retries:2,interval:"100ms"){{'
    identity, host = service(query, ["sleep", "60"], steps)
    error = query.error(client({"www": identity}, "echo never"))
    assert error["message"].startswith(f"start {host} (aliased as www): health check errored: exit code: 42")
    told = error["extensions"]
    assert (told["cmd"], told["exitCode"]) == (check, 42)
    assert (told["stdout"], told["stderr"]) == ("check said no\n", "eek an error\n")


def test_a_health_check_has_the_rights_of_the_container_and_no_more(query: Queries) -> None:
    check = (
        "grep -E 'CapEff|CapPrm|NoNewPrivs|Seccomp:' /proc/self/status; id -u; pwd; hostname; "
        "cat /proc/1/comm; echo x > /proc/sys/kernel/hostname; exit 3"
    )
    steps = (
        'withWorkdir(path:"/srv"){withUser(name:"nobody"){'
        f'withDockerHealthcheck(args:[{gql(check)}],shell:true,retries:1,interval:"10ms"){{'
    )
    identity, host = service(query, ["sleep", "60"], steps)
    told = query.error(node(identity, "start"))["extensions"]["stdout"].split("\n")
    rights = dict(line.split(":\t") for line in told[:4])
    plain = query(
        '{container{from(address:"host"){withUser(name:"nobody"){withExec(args:["grep","-E",'
        '"CapEff|CapPrm|NoNewPrivs|Seccomp:","/proc/self/status"]){stdout}}}}}'
    )
    assert rights == dict(line.split(":\t") for line in plain.strip().split("\n"))
    assert rights["Seccomp"] == "2"
    assert told[4:8] == ["65534", "/srv", host, "bwrap"]


def test_a_health_check_does_not_see_through_to_secrets_in_clear(query: Queries) -> None:
    secret = query('{setSecret(name:"s",plaintext:"hush-4711"){id}}')
    check = 'echo "value $TOKEN"; exit 1'
    steps = (
        f'withSecretVariable(name:"TOKEN",secret:"{secret}"){{'
        f'withDockerHealthcheck(args:[{gql(check)}],shell:true,retries:1,interval:"10ms"){{'
    )
    identity, _ = service(query, ["sleep", "60"], steps)
    error = query.error(node(identity, "start"))
    assert error["extensions"]["stdout"] == "value ***\n"
    assert "hush-4711" not in json.dumps(error)


def test_a_command_ends_when_a_service_that_it_uses_fails(query: Queries) -> None:
    identity, host = service(query, ["sh", "-c", "sleep 1; exit 42"])
    started = time.monotonic()
    error = query.error(client({"www": identity}, "sleep 30; echo never"))
    assert error["message"] == f"bound service {host} (aliased as www) exited: exit code: 42"
    assert time.monotonic() - started < 15


def test_a_service_ends_with_the_one_it_needs(query: Queries) -> None:
    needed, needed_host = service(query, ["sh", "-c", "sleep 1; exit 42"])
    identity, host = service(
        query, ["sleep", "60"], f'withServiceBinding(alias:"dep",service:{gql(needed)}){{'
    )
    error = query.error(client({"app": identity}, "sleep 30; echo never"))
    assert error["message"] == (
        f"bound service {host} (aliased as app) exited: bound service {needed_host} (aliased as dep) exited: "
        "exit code: 42"
    )


def test_a_service_that_is_done_disturbs_nobody(query: Queries) -> None:
    identity, _ = service(query, ["sh", "-c", "sleep 0.5"])
    assert query(client({"job": identity}, "sleep 1.5; echo ran")) == "ran\n"


def test_a_service_that_cannot_start_says_under_which_names_it_was_needed(query: Queries) -> None:
    identity, host = service(query, ["sh", "-c", "echo nope; exit 42"], "withExposedPort(port:8080){")
    error = query.error(client({"www": identity, "other": identity}, "echo never"))
    assert error["message"] == f"start {host} (aliased as www, other): exit code: 42"
    assert error["extensions"]["stdout"] == "nope\n"
    front, front_host = service(
        query, ["sleep", "9"], f'withServiceBinding(alias:"db",service:{gql(identity)}){{'
    )
    message = query.error(client({"web": front}, "echo never"))["message"]
    expected = f"start {front_host} (aliased as web): start dependent services: start {host} (aliased as db): exit code: 42"
    assert message == expected


def test_a_missing_command_is_told_as_that_of_a_container(query: Queries) -> None:
    identity, _ = service(query, ["no-such-program"])
    error = query.error(node(identity, "start"))
    assert error["message"] == "exit code: 1"
    assert error["extensions"]["stderr"] == 'exec: "no-such-program": executable file not found in $PATH\n'


def test_a_service_goes_on_to_serve_until_it_has_ended_and_may_be_killed_meanwhile(query: Queries) -> None:
    stubborn = (
        "import http.server, signal; signal.signal(15, lambda *_: open('/srv/hello', 'w').write('asked'));"
        "http.server.test(http.server.SimpleHTTPRequestHandler, port=8080)"
    )
    steps = 'withWorkdir(path:"/srv"){withExposedPort(port:8080){'
    identity, host = service(query, ["python3", "-c", stubborn], steps)
    query(node(identity, "start"))
    with ThreadPoolExecutor() as pool:
        stopping = pool.submit(query, node(identity, "stop"))
        shown = ""
        for attempt in range(50):
            shown = query(client({}, fetch(host), salt=str(attempt)))
            if shown == "asked\n":
                break
            time.sleep(0.05)
        assert shown == "asked\n"
        assert not stopping.done()
        started = time.monotonic()
        query(node(identity, "stop(kill:true)"))
        stopping.result(timeout=5)
        assert time.monotonic() - started < 5
    assert query.error(client({}, fetch(host), salt="after"))


def test_a_stopped_service_is_missed_by_those_who_use_it(query: Queries) -> None:
    identity, host = service(query, WEB, "withExposedPort(port:8080){")
    query(node(identity, "start"))
    with ThreadPoolExecutor() as pool:
        using = pool.submit(query.error, client({"web": identity}, "sleep 30"))
        time.sleep(1)
        query(node(identity, "stop(kill:true)"))
        message = using.result(timeout=10)["message"]
    assert message == f"bound service {host} (aliased as web) exited: exit code: 137"


def test_a_tunnel_ends_with_its_service(query: Queries) -> None:
    identity, _ = service(query, WEB, "withExposedPort(port:8080){")
    tunnel = query(f"{{host{{tunnel(service:{gql(identity)}){{id}}}}}}")
    query(node(tunnel, "start"))
    query(node(identity, "stop(kill:true)"))
    for _ in range(100):
        if "errors" in query.raw(node(tunnel, "endpoint")):
            break
        time.sleep(0.05)
    assert "is not running" in query.error(node(tunnel, "endpoint"))["message"]


def test_up_says_what_it_could_not_do(query: Queries) -> None:
    without, _ = service(query, WEB)
    message = query.error(node(without, "up"))["message"]
    assert message == "failed to select host service: no ports to forward"
    broken, _ = service(query, ["sh", "-c", "exit 7"], "withExposedPort(port:8080){")
    error = query.error(node(broken, "up(random:true)"))
    assert error["message"] == "failed to start host service: start upstream: exit code: 7"
    assert error["extensions"]["exitCode"] == 7


def test_an_exposed_port_keeps_its_place_when_it_is_exposed_again(query: Queries) -> None:
    steps = 'withExposedPort(port:1){withExposedPort(port:2){withExposedPort(port:1,description:"one"){'
    opening = '{container{from(address:"host"){' + steps + "exposedPorts{port description}}}}}}}"
    assert query(opening) == [{"description": "one", "port": 1}, {"description": None, "port": 2}]
