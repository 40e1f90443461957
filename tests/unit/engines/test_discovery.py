"""Which real engine is reachable."""

from __future__ import annotations

import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest

from rondel.engines import discovery
from rondel.engines.choice import choose_engine, describe_engine
from rondel.engines.discovery import connection_problem, find_engine, shown
from rondel.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def runtime(folder: Path, name: str, code: int) -> str:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\nexit {code}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(folder)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The socket of an engine on this node of a cluster."""
    path = tmp_path / "engine.sock"
    monkeypatch.setattr(discovery, "NODE_SOCKET", path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield path


def test_an_engine_that_is_named_comes_first(tmp_path: Path, node: Path) -> None:
    path = runtime(tmp_path / "bin", "docker", 0)
    found = find_engine({"PATH": path, discovery.RUNNER_HOST: "tcp://user:pw@engine:1?token=x"})
    assert found is not None
    assert (found.by, found.environment) == ("runner host", {})
    assert str(found) == "_EXPERIMENTAL_DAGGER_RUNNER_HOST names tcp://engine:1"


def test_the_clusters_socket_is_found_and_passed_to_the_cli(tmp_path: Path, node: Path) -> None:
    cli = runtime(tmp_path / "bin", "dagger", 0)
    found = find_engine({"PATH": cli})
    assert found is not None
    assert str(found) == f"an engine answers at {node}"
    choice = choose_engine(Settings(root=tmp_path), {"PATH": cli}, None)
    assert choice.kind == "dagger"
    assert choice.environment[discovery.RUNNER_HOST] == f"unix://{node}"


def test_a_socket_without_a_listener_is_not_an_engine(tmp_path: Path, node: Path) -> None:
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(stale))
    discovery.NODE_SOCKET = stale
    assert find_engine({"PATH": "/nowhere"}) is None


def test_a_runtime_counts_when_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "NODE_SOCKET", tmp_path / "engine.sock")
    assert find_engine({"PATH": runtime(tmp_path / "away", "docker", 1)}) is None
    found = find_engine({"PATH": runtime(tmp_path / "there", "podman", 0)})
    assert found is not None
    assert str(found) == "podman answers, and can start one"


def test_an_address_without_an_answer_has_a_reason(tmp_path: Path, node: Path) -> None:
    assert connection_problem(f"unix://{node}") == ""
    assert connection_problem(f"unix://{tmp_path}/missing.sock") == "No such file or directory"
    assert connection_problem("tcp://127.0.0.1:9") == "Connection refused"
    assert connection_problem("tcp://127.0.0.1:port").startswith("Port could not be")
    (tmp_path / "file").touch()
    assert connection_problem(f"unix://{tmp_path}/file") == "not a socket"


@pytest.mark.parametrize("address", ["kube-pod://engine-0", "docker-container://engine"])
def test_an_address_that_only_the_cli_can_probe_counts_as_reachable(address: str) -> None:
    assert connection_problem(address) == ""
    assert shown(f"{address}?context=x") == address


ENGINES: dict[str, tuple[dict[str, Any], dict[str, int], dict[str, str], str]] = {
    "a CLI without an engine": ({}, {"dagger": 1}, {}, "embedded (no Dagger engine is reachable)"),
    "a runtime that answers": (
        {},
        {"dagger": 1, "docker": 0},
        {},
        "dagger (docker answers, and can start one)",
    ),
    "the embedded one by flag": (
        {"engine": "embedded"},
        {"dagger": 1, "docker": 0},
        {},
        "embedded (requested by the command line)",
    ),
    "a Dagger engine by variable, without a CLI": (
        {},
        {},
        {"RONDEL_ENGINE": "dagger"},
        (
            "none (there is no Dagger CLI on the PATH; install one (https://docs.dagger.io/install), "
            "or use --engine embedded)"
        ),
    ),
    "a named engine that is silent": (
        {},
        {"dagger": 1},
        {"_EXPERIMENTAL_DAGGER_RUNNER_HOST": "unix:///nowhere/engine.sock"},
        (
            "dagger (_EXPERIMENTAL_DAGGER_RUNNER_HOST names unix:///nowhere/engine.sock; but nothing answers "
            "at unix:///nowhere/engine.sock: No such file or directory)"
        ),
    ),
    "a session of Rondel's": (
        {},
        {},
        {"DAGGER_SESSION_PORT": "1", "DAGGER_SESSION_TOKEN": "t", "RONDEL_SESSION": "1"},
        "embedded (this command runs in its session)",
    ),
    "a session of a Dagger engine": (
        {},
        {},
        {"DAGGER_SESSION_PORT": "1", "DAGGER_SESSION_TOKEN": "t"},
        "dagger (this command runs in its session)",
    ),
}


@pytest.mark.parametrize("case", ENGINES)
def test_the_engine_of_a_run_is_described_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    flags, tools, variables, expected = ENGINES[case]
    monkeypatch.setattr(discovery, "NODE_SOCKET", tmp_path / "none.sock")
    for name, code in {"true": 0, **tools}.items():
        runtime(tmp_path / "bin", name, code)
    environ = {"PATH": str(tmp_path / "bin"), **variables}
    settings = load_settings(tmp_path, flags, environ)
    assert describe_engine(settings, environ, tmp_path / "rondel") == expected


def test_an_engine_on_the_node_is_named_as_the_reason(tmp_path: Path, node: Path) -> None:
    environ = {"PATH": runtime(tmp_path / "bin", "dagger", 0)}
    found = describe_engine(load_settings(tmp_path), environ, tmp_path / "rondel")
    assert found == f"dagger (an engine answers at {node})"
