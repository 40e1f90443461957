"""Whole sessions as other people start them: a launcher, an engine, containers; and what is left of them."""

import base64
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

LAUNCHER = """
import sys
from pathlib import Path
from rondel.engine.server.launcher import EmbeddedSession
with EmbeddedSession.open(workdir=Path(sys.argv[1]), store=Path(sys.argv[2])) as session:
    print(session.connection_line, flush=True)
    sys.stdin.read()
"""


def processes_with(mark):
    """The processes whose command line or environment holds a text; zombies are none."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            if mark.encode() in text and (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(folder.name))
    return found


def until(condition, seconds=15.0):
    """Wait for a condition; its value, or a failure that shows it."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.02)
    return value


class Running:
    """A session whose launcher is a process of its own."""

    def __init__(self, workdir, store):
        self.mark = f"mark-{uuid.uuid4().hex}"
        self.launcher = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(workdir), str(store)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"RONDEL_TEST_MARK": self.mark, "RONDEL_ENGINE_HOST_IMAGE": "auto"},
        )
        self.line = json.loads(self.launcher.stdout.readline())

    @property
    def address(self):
        return "127.0.0.1", self.line["port"]

    @property
    def authorization(self):
        return "Basic " + base64.b64encode(f"{self.line['session_token']}:".encode()).decode()

    def post(self, body, *, timeout=60.0, headers=None):
        """The status and the body of an answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.line['port']}/query",
            data=body,
            headers={
                "Content-Type": "application/json",
                "Authorization": self.authorization,
                **(headers or {}),
            },
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def query(self, text, **options):
        """The answer of a query."""
        return json.loads(self.post(json.dumps({"query": text}).encode(), **options)[1])

    @property
    def engine(self):
        """The engine's process id."""

        def find():
            children = Path(f"/proc/{self.launcher.pid}/task").glob("*/children")
            return [int(pid) for path in children for pid in path.read_text().split()]

        return until(find)[0]

    def close(self):
        self.launcher.stdin.close()
        code = self.launcher.wait(30)
        self.launcher.stdout.close()
        return code

    def kill(self):
        """End it somehow; for tests that have killed parts of it."""
        self.launcher.kill()
        self.launcher.wait()
        for stream in (self.launcher.stdin, self.launcher.stdout):
            with contextlib.suppress(OSError):
                stream.close()


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("safety") / "store"


@pytest.fixture
def session(store, tmp_path):
    """Start sessions on the shared store: ``session()``; all are ended, and nothing may be left of them."""
    started = []

    def start():
        started.append(Running(tmp_path, store))
        return started[-1]

    yield start
    for running in started:
        if running.launcher.poll() is None:
            running.close()
        else:
            running.kill()
        until(lambda mark=running.mark: not processes_with(mark))
    assert str(store) not in Path("/proc/self/mountinfo").read_text()
