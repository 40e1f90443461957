"""Rondel's own `dagger`, the real CLI behind it, and the choice of an engine."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rondel.cli import dagger, main
from rondel.engines.choice import choose_engine, find_real_cli, is_own
from rondel.engines.discovery import find_engine
from rondel.errors import ConfigurationError, EngineUnavailable
from rondel.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = sys.executable


def script(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(text)
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


def own(folder: Path) -> Path:
    """The environment's own `dagger`, on a machine whose cluster has no engine on it, if it is on one."""
    program = "from rondel.engines import discovery\nfrom rondel.cli.dagger import main\n"
    away = f"discovery.NODE_SOCKET = discovery.Path({str(folder)!r}, 'engine.sock')\n"
    return script(folder, "dagger", f"#!{PYTHON}\n{program}{away}main()\n")


def real(folder: Path, text: str = 'echo "real: $*"; exit 7') -> Path:
    return script(folder, "dagger", f"#!/bin/sh\n{text}\n")


def test_the_command_says_which_engine_it_uses(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert dagger.main(["version"]) == 0
    captured = capfd.readouterr()
    assert captured.out.startswith("rondel ")
    assert len(captured.err.splitlines()) == 1
    assert "Rondel's" in captured.err


def test_flags_of_the_real_cli_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST", raising=False)
    assert dagger.main(["run", "--progress", "plain", "-s", "sh", "-c", "exit 4"]) == 4


@pytest.mark.parametrize(
    "words",
    [
        ["api", "with-session", "sh", "-c", "exit 4"],
        ["api", "exec", "--cleanup-timeout", "5s", "sh", "-c", "exit 4"],
        ["--progress", "plain", "-W", "/", "api", "with-session", "sh", "-c", "exit 4"],
        ["--progress", "plain", "run", "sh", "-c", "exit 4"],
    ],
)
def test_the_command_knows_the_name_of_run_in_1_0(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST", raising=False)
    assert dagger.main(words) == 4


@pytest.mark.parametrize("words", [["call", "x"], ["init"], ["api", "query"], ["api"], []])
def test_other_commands_are_explained(
    words: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert dagger.main(words) == ConfigurationError.exit_code
    assert "it serves run, api with-session, session, version" in capfd.readouterr().err


def hand_over(tmp_path: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(tmp_path / "own"), str(tmp_path / "real")])
    environ = {"PATH": path, "HOME": str(tmp_path), **more}
    return subprocess.run(
        [PYTHON, str(tmp_path / "own" / "dagger"), *(words or ("run", "true"))],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_a_real_cli_takes_over_if_an_engine_is_configured(tmp_path: Path) -> None:
    own(tmp_path / "own")
    real(tmp_path / "real")
    done = hand_over(tmp_path, _EXPERIMENTAL_DAGGER_RUNNER_HOST="kube-pod://engine")
    assert (done.returncode, done.stdout, done.stderr) == (7, "real: run true\n", "")
    done = hand_over(tmp_path, _EXPERIMENTAL_DAGGER_RUNNER_HOST="unix:///nowhere/engine.sock")
    assert (done.returncode, done.stdout) == (7, "real: run true\n")
    assert (
        "nothing answers at unix:///nowhere/engine.sock: No such file or directory; the Dagger" in done.stderr
    )


OLD = """\
case "$1 $2" in
"api --help") echo "usage: dagger [file]"; exit 0 ;;
esac
echo "0.21: $*"
"""


NEW = """\
case "$1 $2" in
"api --help") echo "  with-session   Run a command with a connected session"; exit 0 ;;
esac
echo "1.0: $*"
"""


@pytest.mark.parametrize(
    ("cli", "words", "called"),
    [
        (OLD, ("run", "true"), "0.21: run true"),
        (NEW, ("run", "true"), "1.0: run true"),
        (OLD, ("api", "with-session", "--focus", "true"), "0.21: run --focus true"),
        (NEW, ("api", "with-session", "true"), "1.0: api with-session true"),
        (OLD, ("--progress", "plain", "api", "exec", "true"), "0.21: --progress plain run true"),
        (NEW, ("api", "query"), "1.0: api query"),
    ],
)
def test_an_old_or_new_real_cli_is_called_with_a_name_that_it_knows(
    tmp_path: Path, cli: str, words: tuple[str, ...], called: str
) -> None:
    own(tmp_path / "own")
    real(tmp_path / "real", cli)
    done = hand_over(tmp_path, *words, _EXPERIMENTAL_DAGGER_RUNNER_HOST="kube-pod://engine")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, called, "")


def test_a_real_cli_takes_over_when_a_container_runtime_answers(tmp_path: Path) -> None:
    own(tmp_path / "own")
    real(tmp_path / "real")
    script(tmp_path / "real", "docker", "#!/bin/sh\nexit 0\n")
    assert hand_over(tmp_path).stdout == "real: run true\n"


def test_clients_in_rondel_run_start_the_real_cli_if_an_engine_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, out = real(tmp_path / "real"), tmp_path / "out"
    monkeypatch.setenv("PATH", f"{tmp_path / 'real'}:/usr/bin:/bin")
    monkeypatch.setenv("_EXPERIMENTAL_DAGGER_RUNNER_HOST", "tcp://engine:1")
    monkeypatch.chdir(tmp_path)
    said = f'echo "$_EXPERIMENTAL_DAGGER_CLI_BIN ${{DAGGER_SESSION_PORT:+port}}" > {out}'
    assert main(["run", "sh", "-c", said]) == 0
    assert out.read_text() == f"{there} \n"
    monkeypatch.setenv("RONDEL_ENGINE", "embedded")
    assert main(["run", "sh", "-c", said]) == 0
    assert out.read_text() == " port\n"


def test_a_real_cli_does_not_take_over_if_the_embedded_engine_is_requested(tmp_path: Path) -> None:
    own(tmp_path / "own")
    real(tmp_path / "real")
    script(tmp_path / "real", "true", "#!/bin/sh\nexit 0\n")
    named = {"_EXPERIMENTAL_DAGGER_RUNNER_HOST": "tcp://engine:1"}
    done = hand_over(tmp_path, RONDEL_ENGINE="embedded", **named)
    assert (done.returncode, done.stdout) == (0, "")
    assert "requested by RONDEL_ENGINE" in done.stderr
    session = {"DAGGER_SESSION_PORT": "1", "DAGGER_SESSION_TOKEN": "t", "RONDEL_SESSION": "1"}
    done = hand_over(tmp_path, "session", **session, **named)
    assert "this is a session of it" in done.stderr
    # Commands that only the real CLI knows go to it, wherever stages run.
    assert hand_over(tmp_path, "call", RONDEL_ENGINE="embedded", **named).stdout == "real: call\n"


@pytest.mark.parametrize("own_session", ["", "1"])
def test_a_run_in_a_session_uses_that_session(tmp_path: Path, own_session: str) -> None:
    own(tmp_path / "own")
    real(tmp_path / "real")
    script(tmp_path / "real", "show", '#!/bin/sh\necho "port $DAGGER_SESSION_PORT"\n')
    session = {"DAGGER_SESSION_PORT": "1", "DAGGER_SESSION_TOKEN": "t", "RONDEL_SESSION": own_session}
    named = {"_EXPERIMENTAL_DAGGER_RUNNER_HOST": "kube-pod://engine"}
    done = hand_over(tmp_path, "run", "--progress", "plain", "show", **session, **named)
    assert (done.returncode, done.stdout, done.stderr) == (0, "port 1\n", "")


def test_a_real_cli_without_an_engine_does_not_take_over(tmp_path: Path) -> None:
    own(tmp_path / "own")
    real(tmp_path / "real")
    script(tmp_path / "real", "docker", "#!/bin/sh\nexit 1\n")
    script(tmp_path / "real", "true", "#!/bin/sh\nexit 0\n")
    done = hand_over(tmp_path)
    assert done.returncode == 0
    assert "using Rondel's embedded engine" in done.stderr


def test_a_runtime_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    script(tmp_path / "bin", "docker", "#!/bin/sh\nexec sleep 30\n")
    environ = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}
    assert find_engine(environ, timeout=0.1) is None


def test_rondels_own_commands_are_never_taken_for_the_real_one(tmp_path: Path) -> None:
    ours = own(tmp_path / "own")
    assert is_own(ours)
    assert find_real_cli({"PATH": str(tmp_path / "own")}) is None
    there = real(tmp_path / "real")
    assert not is_own(there)
    assert find_real_cli({"PATH": f"{tmp_path / 'own'}{os.pathsep}{tmp_path / 'real'}"}) == there


def test_the_engine_is_chosen_by_session_flag_and_reach(tmp_path: Path) -> None:
    there, rondel = real(tmp_path / "real"), tmp_path / "rondel"
    settings = Settings(root=tmp_path)
    plain = {"PATH": str(tmp_path / "real")}
    assert choose_engine(settings, plain, rondel).kind == "embedded"
    in_reach = {**plain, "_EXPERIMENTAL_DAGGER_RUNNER_HOST": "tcp://x:1"}
    choice = choose_engine(settings, in_reach, rondel)
    assert (choice.kind, dict(choice.environment)) == ("dagger", {"_EXPERIMENTAL_DAGGER_CLI_BIN": str(there)})
    assert choose_engine(replace(settings, engine="embedded"), in_reach, rondel).kind == "embedded"
    script(tmp_path / "real", "docker", f"#!/bin/sh\n: > {tmp_path}/asked\n")
    assert choose_engine(replace(settings, engine="dagger"), plain, rondel).kind == "dagger"
    assert not (tmp_path / "asked").exists()  # the CLI asks the runtimes itself
    session = {"DAGGER_SESSION_PORT": "1", "DAGGER_SESSION_TOKEN": "t"}
    assert choose_engine(settings, session, None).kind == "session"
    assert choose_engine(settings, {**session, "RONDEL_SESSION": "1"}, None).kind == "embedded"


def test_an_unavailable_engine_is_explained(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, engine="dagger")
    with pytest.raises(EngineUnavailable, match="no Dagger CLI"):
        choose_engine(settings, {"PATH": "/nowhere"}, None)
    with pytest.raises(EngineUnavailable, match="DAGGER_SESSION_TOKEN is not"):
        choose_engine(settings, {"DAGGER_SESSION_PORT": "1"}, None)
    session = {"DAGGER_SESSION_PORT": "1", "DAGGER_SESSION_TOKEN": "t", "RONDEL_SESSION": "1"}
    with pytest.raises(ConfigurationError, match="belongs to Rondel's embedded engine"):
        choose_engine(settings, session, None)
