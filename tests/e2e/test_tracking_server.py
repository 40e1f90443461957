"""The local MLflow server for real: started once, shared, survived, ended.

One project folder serves most tests, because a start takes seconds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from rondel.errors import TrackingUnavailable
from rondel.registry.champion import champion_version, fetch_champion
from rondel.registry.versions import get_model, version_by_alias
from rondel.tracking import RunFacts, RunTree, StageFacts, TrackingClient, ensure_server, server
from rondel.tracking.locks import group_members
from rondel.tracking.server_state import ServerFolder, ServerState, read_state

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRON = {name: value for name, value in os.environ.items() if name not in {"CI", "MLFLOW_TRACKING_URI"}}
FACTS = RunFacts(run_id="20261123-194742-a1b2c3", pipeline="ci/main.py", git_commit="abc", engine="embedded")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("project")
    yield root
    server.stop(root)


def members(root: Path) -> list[int]:
    folder = ServerFolder.of(root)
    state = read_state(folder)
    if state is None or state.server is None:
        return []
    return group_members(state.server.pid, f"RONDEL_TRACKING_FOLDER={folder.path}")


def ready_state(lease: server.Lease, root: Path) -> ServerState:
    lease.ready_now()
    state = read_state(ServerFolder.of(root))
    assert state is not None
    return state


def wait_until(condition: object, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_two_runs_share_one_server_and_log_to_it(project: Path) -> None:
    async def main() -> None:
        async with (
            ensure_server(project, ENVIRON, experiment="flights") as first,
            ensure_server(project, ENVIRON, experiment="flights") as second,
        ):
            tracking, other = await first.ready(), await second.ready()
            assert tracking.uri == other.uri
            assert tracking.needs_host_service
            assert tracking.container_uri == f"http://mlflow:{tracking.port}"
            async with TrackingClient(tracking.endpoint) as client:
                await client.probe()
                tree = RunTree(client, experiment="flights", facts=FACTS)
                run = await tree.begin(StageFacts(name="train", inputs={"data/flights.parquet": "md5:1"}))
                await client.log(run.run_id, metrics={"roc_auc[origin=JFK]": 0.6}, params={"max_iter": 200})
                await tree.end(run, "FINISHED", metrics={"roc_auc": 0.7})
                assert await client.log_artifact(run, "gate/verdict.md", b"# passed\n")
                assert await client.read_artifact(run, "gate/verdict.md") == b"# passed\n"
                await tree.close("FAILED", tags={"rondel.gate": "failed"})
                parent = tree.parent
                assert parent is not None
                found = await client.get_run(parent.run_id)
                assert found.status == "FAILED"
                assert found.metrics == {"roc_auc": 0.7}
                assert found.tags["rondel.gate"] == "failed"
                nested = await client.get_run(run.run_id)
                assert nested.tags["mlflow.parentRunId"] == parent.run_id
                assert nested.tags["dvc.in.data/flights.parquet"] == "md5:1"
                assert nested.metrics == {"roc_auc/origin/JFK": 0.6}

    anyio.run(main)


def test_the_server_lingers_and_the_next_run_finds_it(project: Path) -> None:
    before = server.acquire(project, ENVIRON)
    uri = before.ready_now().uri
    assert server.status(project).in_use
    before.release()
    found = server.status(project)
    assert (found.running, found.in_use, found.uri) == (True, False, uri)
    after = server.acquire(project, ENVIRON)
    assert after.ready_now().uri == uri
    after.release()


def test_containers_are_let_in_by_their_name_and_strangers_are_not(project: Path) -> None:
    lease = server.acquire(project, ENVIRON)
    endpoint = lease.ready_now()
    url = f"{endpoint.uri}/api/2.0/mlflow/experiments/search"
    answers = [
        httpx.post(
            url,
            json={"max_results": 1},
            headers={"Host": host, "Authorization": f"Bearer {endpoint.token}"},
        ).status_code
        for host in (f"mlflow:{endpoint.port}", f"127.0.0.1:{endpoint.port}", "evil.example")
    ]
    lease.release()
    assert answers == [200, 200, 403]


def test_the_champion_is_read_from_the_database_without_a_request(project: Path) -> None:
    lease = server.acquire(project, ENVIRON)
    endpoint = lease.ready_now()

    async def main() -> None:
        async with TrackingClient(endpoint) as client:
            assert await version_by_alias(client, "flight-delay", "champion") is None
            assert await get_model(client, "flight-delay") is None
            assert await fetch_champion(client, "flight-delay") is None
            await client.call("POST", "registered-models/create", body={"name": "flight-delay"})
            assert await version_by_alias(client, "flight-delay", "champion") is None
            experiment = await client.ensure_experiment("flights")
            run = await client.create_run(experiment, name="train", tags={})
            await client.log(run.run_id, metrics={"roc_auc": 0.71})
            body = {"name": "flight-delay", "source": f"runs:/{run.run_id}/model", "run_id": run.run_id}
            await client.call("POST", "model-versions/create", body=body)
            alias = {"name": "flight-delay", "alias": "champion", "version": "1"}
            await client.call("POST", "registered-models/alias", body=alias)
            found = await fetch_champion(client, "flight-delay")
            assert found is not None
            assert (found.version, found.metrics) == ("1", {"roc_auc": 0.71})

    assert champion_version(project, ENVIRON, "flight-delay") is None
    anyio.run(main)
    lease.release()
    assert champion_version(project, ENVIRON, "flight-delay") == "1"
    remote = {**ENVIRON, "MLFLOW_TRACKING_URI": endpoint.uri, "MLFLOW_TRACKING_TOKEN": str(endpoint.token)}
    assert champion_version(project / "elsewhere", remote, "flight-delay") == "1"


def test_a_killed_run_keeps_nothing_and_a_killed_server_comes_back_at_its_address(project: Path) -> None:
    code = (
        "import os,sys,time;from pathlib import Path;from rondel.tracking import server;"
        "server.acquire(Path(sys.argv[1]),os.environ).ready_now();print(1,flush=True);time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(project)], stdout=subprocess.PIPE, env=ENVIRON
    ) as run:
        assert run.stdout is not None
        run.stdout.readline()
        assert server.status(project).in_use
        state = read_state(ServerFolder.of(project))
        assert state is not None
        for pid in members(project):
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: (now := read_state(ServerFolder.of(project))) and now.status == "ready" and now != state
        )
        again = read_state(ServerFolder.of(project))
        assert again is not None
        assert again.uri == state.uri
        run.kill()
        run.wait()
    assert not server.status(project).in_use


def test_a_killed_supervisor_takes_its_server_with_it_and_the_next_run_starts_another(project: Path) -> None:
    lease = server.acquire(project, ENVIRON)
    state = ready_state(lease, project)
    old = members(project)
    assert old
    os.kill(state.supervisor.pid, signal.SIGKILL)
    lease.release()
    wait_until(lambda: not members(project))
    assert not server.status(project).running
    again = server.acquire(project, ENVIRON)
    assert again.ready_now().uri == state.uri
    again.release()


def test_a_server_whose_supervisor_and_command_were_killed_at_once_is_ended_by_the_next(
    project: Path,
) -> None:
    lease = server.acquire(project, ENVIRON)
    state = ready_state(lease, project)
    assert state.server is not None
    old = members(project)
    for pid in (state.server.pid, state.supervisor.pid):
        os.kill(pid, signal.SIGSTOP)
    for pid in (state.server.pid, state.supervisor.pid):
        os.kill(pid, signal.SIGKILL)
    lease.release()
    wait_until(lambda: not server.status(project).running)
    again = server.acquire(project, ENVIRON)
    again.ready_now()
    assert not set(old) & set(members(project))
    again.release()


def test_a_server_that_does_not_linger_ends_with_the_last_run(project: Path) -> None:
    first, second = (server.acquire(project, ENVIRON, linger=0) for _ in range(2))
    first.ready_now()
    processes = members(project)
    first.release()
    assert server.status(project).running
    second.release()
    assert not server.status(project).running
    assert not any(Path(f"/proc/{pid}/cmdline").exists() for pid in processes)


def test_a_server_that_nobody_uses_ends_after_its_time(project: Path) -> None:
    server.stop(project)
    lease = server.acquire(project, ENVIRON, linger=0.5)
    lease.ready_now()
    processes = members(project)
    assert processes
    time.sleep(1.5)
    assert server.status(project).running, "it was in use all the time"
    lease.release()
    wait_until(lambda: not server.status(project).running)
    assert not any(Path(f"/proc/{pid}/cmdline").exists() for pid in processes)
    assert read_state(ServerFolder.of(project)) is None


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    folder = ServerFolder.of(tmp_path)
    folder.path.mkdir(parents=True)
    folder.database.write_bytes(b"not a database" * 1000)
    lease = server.acquire(tmp_path, ENVIRON)
    with pytest.raises(TrackingUnavailable, match="does not start") as caught:
        lease.ready_now()
    assert "database" in (caught.value.why or "")
    lease.release()
    wait_until(lambda: not server.status(tmp_path).running)
    folder.database.unlink()
    again = server.acquire(tmp_path, ENVIRON)
    try:
        again.ready_now()
    finally:
        again.release()
        assert server.stop(tmp_path)
