"""How the supervisor ends a server, with a fake server."""

import subprocess
import sys

import pytest

from rondel.tracking import supervisor
from rondel.tracking.server_state import ServerFolder

ANSWERS_FIRST = """
import signal, sys, time
def end(*_):
    time.sleep(0.5)
    open(sys.argv[1], "w").write("answered")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("linger", "answered"),
    [pytest.param(600.0, True, id="lingering"), pytest.param(0.0, False, id="ends with the run")],
)
def test_only_a_server_without_users_is_killed_early(tmp_path, monkeypatch, linger, answered):
    monkeypatch.setattr(supervisor, "QUICK_STOP_SECONDS", 0.05)
    answer = tmp_path / "answer"
    process = subprocess.Popen(
        [sys.executable, "-c", ANSWERS_FIRST, str(answer)], stdout=subprocess.PIPE, process_group=0
    )
    assert process.stdout is not None
    with process.stdout:
        process.stdout.readline()
    keeper = supervisor.Supervisor(ServerFolder.of(tmp_path), linger=linger)
    keeper._process = process
    keeper.stop_server()
    assert answer.exists() == answered
    assert process.returncode is not None
