"""Locks and process identities, on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rondel.tracking.locks import FileLock, ProcessId, group_members
from rondel.tracking.server_state import ServerFolder, ServerState, read_state, write_state
from rondel.tracking.supervisor import choose_port, server_environment


def test_shared_locks_share_and_exclusive_ones_do_not(tmp_path: Path) -> None:
    first, second, third = (FileLock(tmp_path / "lock") for _ in range(3))
    assert first.try_shared()
    assert second.try_shared()
    assert not third.try_exclusive()
    first.close()
    second.close()
    assert third.try_exclusive()
    third.close()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import fcntl,os,sys;fd=os.open(sys.argv[1],os.O_RDWR|os.O_CREAT);"
        "fcntl.flock(fd,fcntl.LOCK_EX);print(1,flush=True);sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        lock = FileLock(path)
        assert not lock.try_shared()
        process.kill()
        process.wait()
        assert lock.try_exclusive()
        lock.close()


def test_a_process_is_identified_by_number_and_start_time() -> None:
    own = ProcessId.of(os.getpid())
    assert own is not None
    assert own.alive()
    assert not ProcessId(pid=own.pid, started=own.started + 1).alive()
    with subprocess.Popen(["sleep", "30"]) as process:
        identity = ProcessId.of(process.pid)
        process.kill()
    assert identity is not None
    assert not identity.alive()


def test_only_marked_processes_of_a_group_are_found() -> None:
    with subprocess.Popen(["sleep", "30"], process_group=0, env={"MARK": "yes"}) as process:
        try:
            while not Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"sleep"):
                pass
            assert group_members(process.pid, "MARK=yes") == [process.pid]
            assert group_members(process.pid, "MARK=no") == []
        finally:
            process.kill()


def test_the_state_survives_a_round_trip_and_damaged_files_have_none(tmp_path: Path) -> None:
    folder = ServerFolder.of(tmp_path)
    folder.path.mkdir(parents=True)
    assert read_state(folder) is None
    state = ServerState(status="ready", port=5000, supervisor=ProcessId(pid=1, started=2), version="3")
    write_state(folder, state)
    assert read_state(folder) == state
    folder.state.write_text('{"schema": 1')
    assert read_state(folder) is None
    folder.state.write_text('{"schema": 99}')
    assert read_state(folder) is None


def test_the_last_port_is_reused_unless_it_is_busy(tmp_path: Path) -> None:
    import socket

    folder = ServerFolder.of(tmp_path)
    folder.path.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        folder.port.write_text(f"{port}\n")
        assert choose_port(folder) != port
    assert choose_port(folder) == port
    folder.port.write_text("rubbish")
    assert choose_port(folder) > 1024


def test_the_server_starts_without_the_clients_settings_and_with_bytecode(tmp_path: Path) -> None:
    environ = {
        "PATH": "/bin",
        "MLFLOW_TRACKING_URI": "http://elsewhere",
        "MLFLOW_TRACKING_TOKEN": "secret",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "PYTHONPATH": "/src",
    }
    found = server_environment(environ, ServerFolder.of(tmp_path))
    assert found["PATH"] == "/bin"
    assert found["PYTHONPATH"] == "/src"
    assert "secret" not in found.values()
    assert not {"MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_TOKEN", "PYTHONDONTWRITEBYTECODE"} & set(found)
    assert "mlflow:*" in found["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
