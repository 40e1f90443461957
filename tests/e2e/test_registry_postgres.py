"""The registry on an MLflow server with PostgreSQL behind it: Debian's, started here."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from mlflow_server import mlflow_server

from rondel.registry.aliases import load_alias_log, set_alias
from rondel.registry.backends import registry_of
from rondel.registry.champion import champion_version
from rondel.registry.lineage import Lineage
from rondel.registry.promote import rollback
from rondel.registry.register import ModelSource, register
from rondel.tracking import Endpoint, TrackingClient
from rondel.tracking.errors import TrackingUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
pytestmark = pytest.mark.skipif(not BINARIES, reason="Debian's postgresql package is not installed")


@pytest.fixture(autouse=True)
def shorter_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine nobody is a second late."""
    monkeypatch.setattr(sys.modules["rondel.registry.aliases"], "SETTLE_SECONDS", 0.2)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a database server of our own, on a socket in a folder that goes away."""
    folder = Path(tempfile.mkdtemp(prefix="rondel-pg-"))
    programs = BINARIES[-1].parent
    user = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        user = {"user": account.pw_uid, "group": account.pw_gid}
    data = folder / "data"
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"

    def run(*command: str | Path) -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)

    run(programs / "initdb", "-D", data, "-A", "trust", "-U", "mlflow")
    control = [programs / "pg_ctl", "-D", data, "-l", folder / "log", "-w"]
    run(*control, "-o", options, "start")
    try:
        run(programs / "createdb", "-h", folder, "-U", "mlflow", "mlflow")
        yield f"postgresql+psycopg://mlflow@/mlflow?host={folder}"
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def endpoint(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with mlflow_server(tmp_path_factory.mktemp("postgres"), database=database) as uri:
        yield Endpoint(uri=uri)


def test_registration_promotion_and_rollback_work_on_postgresql(endpoint: Endpoint, tmp_path: Path) -> None:
    async def main() -> None:
        async with TrackingClient(endpoint) as client:
            await client.probe()
            source = registry_of(client)
            experiment = await client.ensure_experiment("flights")
            versions = []
            for run in ("r1", "r2"):
                handle = await client.create_run(experiment, name="train", tags={})
                await client.log(handle.run_id, metrics={"roc_auc": 0.7})
                origin = ModelSource(uri=handle.artifact_uri, run_id=handle.run_id)
                lineage = Lineage(run=run, outputs={f"data/{number}.csv": "md5:0" for number in range(400)})
                version = await register(source, "m", origin, lineage, who="ann")
                again = await register(source, "m", origin, lineage, who="ann")
                assert again.version == version.version
                found = await source.version("m", version.version)
                assert found is not None
                assert Lineage.from_tags(found.tags) == lineage
                versions.append(version.version)
                await set_alias(
                    source, "m", alias="champion", new=version.version, who="ann", action="promote"
                )
            assert (await rollback(source, "m", who="bob")).new == versions[0]
            log = await load_alias_log(source, "m")
            assert [entry.action for entry in log.entries] == [
                "register", "promote", "register", "promote", "rollback",
            ]  # fmt: skip

    anyio.run(main)
    assert champion_version(tmp_path, {"MLFLOW_TRACKING_URI": endpoint.uri}, "m") == "1"


def test_four_promotions_at_once_leave_one_truth(endpoint: Endpoint) -> None:
    won: list[str] = []
    told: list[str] = []

    async def main() -> None:
        async with TrackingClient(endpoint) as client:
            source = registry_of(client)
            await client.call("POST", "registered-models/create", body={"name": "busy"})
            experiment = await client.ensure_experiment("flights")
            for _ in range(4):
                run = await client.create_run(experiment, name="train", tags={})
                origin = ModelSource(uri=run.artifact_uri, run_id=run.run_id)
                lineage = Lineage(run=run.run_id)
                await register(source, "busy", origin, lineage, who="ann", alias=None)

            async def promote(version: str) -> None:
                try:
                    await set_alias(
                        source, "busy", alias="champion", new=version, who=f"v{version}", action="promote"
                    )
                    won.append(version)
                except TrackingUnavailable:
                    told.append(version)

            async with anyio.create_task_group() as group:
                for version in "1234":
                    group.start_soon(promote, version)
            log = await load_alias_log(source, "busy")
            assert sorted(entry.new for entry in log.entries) == sorted(won)
            assert (await source.aliases("busy"))["champion"] == log.entries[-1].new

    anyio.run(main)
    assert won
    assert sorted(won + told) == ["1", "2", "3", "4"]
