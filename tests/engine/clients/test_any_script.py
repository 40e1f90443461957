"""``rondel run python script.py``: any Dagger script, outside of any project of Rondel's, with any client from 0.19 on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("script.py")
TOP = Path(__file__).resolve().parents[3]
RONDEL = str(Path(sys.executable).with_name("rondel"))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.txt").write_text("one line\n")
    shutil.copy(SCRIPT, tmp_path / "any.py")
    return tmp_path


def run(folder: Path, store: Path, *command: str, **environ: str) -> dict:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("DAGGER_", "RONDEL_"))
    }
    done = subprocess.run(
        command, cwd=folder, env={**environment, "RONDEL_ENGINE": "embedded", "RONDEL_ENGINE_HOME": str(store), **environ},
        text=True, capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "answer.json").read_text())


def check(found: dict) -> None:
    assert found["stdout"] == "one line\n***\n"
    assert found["again"] == "1 a.txt\n"
    assert found["entries"] == ["a.txt"]
    assert found["exported"] == "exported"
    assert found["variables"] == ["ONE"]
    assert found["concurrent"] == [f"{number}\n" for number in range(5)]
    assert found["served"] == "one line\n\n"
    failed, *others = found["errors"]
    assert failed == ["ExecError", 7, "out", "err", ["sh", "-c", "echo out; echo err >&2; exit 7"]]
    assert all(kind == "QueryError" for kind, _ in others), others
    assert "no such file or directory" in others[0][1]
    assert "nowhere.invalid" in others[1][1]


@pytest.mark.container
def test_any_script_runs(folder, store):
    check(run(folder, store, RONDEL, "run", sys.executable, "any.py", "answer.json"))


@pytest.mark.container
def test_any_script_runs_when_the_client_starts_the_engine_itself(folder, store):
    shim = folder / "dagger-cli"
    shim.write_text(f'#!/bin/sh\nexec "{RONDEL}" "$@"\n')
    shim.chmod(0o755)
    found = run(
        folder, store, sys.executable, "any.py", "answer.json", _EXPERIMENTAL_DAGGER_CLI_BIN=str(shim)
    )  # fmt: skip
    check(found)


CLIENTS = {
    "oldest": ["dagger-io==0.19.0", "gql==4.0.0"],
    "old-gql": ["dagger-io==0.21.11", "gql==4.0.0"],
    "gql-4.4": ["dagger-io==0.21.11", "gql==4.4.0"],
    "newest": ["dagger-io<1", "gql"],
    "beta": ["dagger-io==1.0.0b21", "gql"],
}


@pytest.fixture(scope="module")
def client(tmp_path_factory, request):
    """An environment with some versions of the client, installed from the package index."""
    folder = tmp_path_factory.mktemp("client")
    uv = shutil.which("uv", path=f"{TOP}/.tools/bin{os.pathsep}{os.environ['PATH']}")
    if uv is not None:
        create, install = (
            [uv, "venv", "-q", "--python", sys.executable],
            [uv, "pip", "install", "-q", "--python"],
        )
    else:
        create, install = [sys.executable, "-m", "venv"], None
    subprocess.run([*create, str(folder / "venv")], check=True)
    python = str(folder / "venv" / "bin" / "python")
    install = [*install, python] if install else [python, "-m", "pip", "install", "-q"]
    subprocess.run([*install, *CLIENTS[request.param]], check=True)
    return python


@pytest.mark.network
@pytest.mark.parametrize("client", CLIENTS, indirect=True)
def test_every_client_from_0_19_on_is_served(client, folder, store):
    check(run(folder, store, RONDEL, "run", client, "any.py", "answer.json"))
