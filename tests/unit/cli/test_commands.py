"""The commands of `rondel`: runs, sessions, capsules, the engine's store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rondel.cli import dagger, main
from rondel.cli.engine import shown
from rondel.engine.store.budget import parse_size
from rondel.engines.session import engine_environment
from rondel.errors import ConfigurationError
from rondel.record import Capsule, RunFolder, StageRecord

PYTHON = sys.executable


def test_an_unknown_command_gets_the_nearest_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shwo"]) == ConfigurationError.exit_code
    assert "did you mean 'show'?\n" in capsys.readouterr().err
    assert main(["train"]) == ConfigurationError.exit_code
    assert "to run a stage: `dagger run python ci/main.py STAGE`" in capsys.readouterr().err


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    for name in ("run", "session", "runs", "show", "ui", "doctor", "engine", "version"):
        assert f"  {name} " in out


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_dagger_says_what_it_serves(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert dagger.main(words) == 0
    out = capsys.readouterr().out
    assert all(f"  {command}  " in out for command in dagger.SERVED)


def test_optional_arguments_are_not_reported_as_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ci"]) == ConfigurationError.exit_code
    assert "required: action\n" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$", 137)])
def test_run_passes_the_exit_code_on(command: str, code: int) -> None:
    assert main(["run", "sh", "-c", command]) == code


def test_run_gives_the_command_a_session(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["run", "--", "sh", "-c", f'echo "$DAGGER_SESSION_PORT $DAGGER_SESSION_TOKEN" > {out}']) == 0
    port, token = out.read_text().split()
    assert int(port) > 0
    assert len(token) > 20


def test_run_inside_of_a_session_uses_that_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGGER_SESSION_PORT", "1")
    out = tmp_path / "out"
    assert main(["run", "sh", "-c", f"echo $DAGGER_SESSION_PORT > {out}"]) == 0
    assert out.read_text() == "1\n"


def test_run_reports_a_missing_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "no-such-command"]) == ConfigurationError.exit_code
    assert "cannot start 'no-such-command'" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_passes_signals_on_and_waits(tmp_path: Path, number: int) -> None:
    ready = tmp_path / "ready"
    body = f"trap 'echo got; exit 5' {int(number)}; touch {ready}; while :; do sleep 0.05; done"
    code = "import sys; from rondel.cli import main; sys.exit(main(['run', 'sh', '-c', sys.argv[1]]))"
    # A new session, so that only this process gets the signal, not from a terminal.
    process = subprocess.Popen(
        [PYTHON, "-c", code, body], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 20
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (out, process.returncode) == ("got\n", 5)


def test_session_prints_one_line_and_ends_with_its_input() -> None:
    process = subprocess.run(
        [PYTHON, "-c", SESSION],
        input="",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert process.returncode == 0, process.stderr
    (line,) = process.stdout.splitlines()
    assert set(json.loads(line)) == {"port", "session_token"}


def test_session_ended_by_sigterm_has_not_failed() -> None:
    process = subprocess.Popen(
        [PYTHON, "-c", SESSION], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.terminate()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.communicate()


SESSION = """
import sys
from rondel.cli import main
words = "session --label a:b --label c:d --workdir . --load-workspace-modules --version v0.21.0 -W .".split()
sys.exit(main(words))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(root: Path, run: str, **fields: object) -> RunFolder:
    folder = RunFolder.of(root, run)
    plain = Capsule(
        schema_version=1, id=run, state="succeeded", pipeline="p", file="ci/main.py", created="now"
    )
    folder.save(replace(plain, **fields))  # type: ignore[arg-type]
    return folder


def test_runs_lists_and_show_shows(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == "there are no runs yet\n"
    stage = StageRecord(name="train", kind="pure", state="failed", seconds=3, metrics={"auc": 0.71234})
    folder = save(
        project, "20261123-200000-aaaaaa", state="failed", targets=["train"], stages=[stage], error="broke"
    )
    save(project, "20261123-210000-bbbbbb", state="running", stages=[replace(stage, state="running")])
    folder.log("train").parent.mkdir()
    folder.log("train").write_text("what happened\n")
    assert main(["runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "killed" in lines[1]
    assert lines[2].split()[:4] == ["20261123-200000-aaaaaa", "failed", "train", "train"]
    assert "auc=0.7123" in lines[2]
    assert len(lines) == 3
    assert main(["runs", "--number", "1"]) == 0
    assert capsys.readouterr().out.endswith("\nand 1 older; --number 0 lists all\n")
    assert main(["runs", "--number", "-1"]) == 20
    assert "cannot be negative" in capsys.readouterr().err
    assert main(["show", "aaaaaa"]) == 0
    out = capsys.readouterr().out
    assert "broke" in out
    assert "python ci/main.py" in out
    assert "folder   .rondel/runs/20261123-200000-aaaaaa\n" in out
    assert main(["show", "aaaaaa", "--log", "train"]) == 0
    assert capsys.readouterr().out == "what happened\n"
    assert main(["show", "aaaaaa", "--log", "trian"]) == 24
    assert "did you mean 'train'?" in capsys.readouterr().err
    assert main(["show", "aaaaaa", "--json"]) == 0
    assert capsys.readouterr().out == folder.capsule.read_text()


def test_an_exported_run_is_shown_from_its_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = StageRecord(name="train", kind="pure", state="failed")
    folder = save(project, "20261123-200000-aaaaaa", state="failed", stages=[stage], error="broke")
    assert main(["runs", "export", "aaaaaa", "-o", "run.capsule"]) == 0
    folder.remove()
    capsys.readouterr()
    assert main(["runs", "show", "run.capsule"]) == 0
    assert "broke" in capsys.readouterr().out
    assert main(["show", "."]) == 24
    assert "'.' is not a run's folder" in capsys.readouterr().err
    assert main(["runs", "export", "aaaaaa", "-o", "run.capsule"]) == 24
    save(project, "20261123-200000-aaaaaa")
    assert main(["runs", "export", "aaaaaa", "-o", "gone/run.capsule"]) == 24
    assert "there is no folder gone" in capsys.readouterr().err


def test_parity_of_an_unknown_stage_is_an_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = StageRecord(name="train", kind="pure", state="ran")
    for run in ("20261123-200000-aaaaaa", "20261123-210000-bbbbbb"):
        save(project, run, stages=[stage])
    assert main(["parity", "aaaaaa", "bbbbbb", "--stage", "train"]) == 0
    assert main(["parity", "aaaaaa", "bbbbbb", "--stage", "trian"]) == 24
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_a_capsule_from_elsewhere_cannot_control_the_terminal(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "a\x1b[2Jb\u202ec"
    for run, params in (("20261123-200000-aaaaaa", {"k": 1}), ("20261123-210000-bbbbbb", {"k": said})):
        stage = StageRecord(name="train", kind="pure", state="ran", parameters=params, reason=f"since {said}")
        save(project, run, stages=[stage])
    assert main(["parity", "aaaaaa", "bbbbbb"]) == 30
    assert main(["why", "train"]) == 0
    shown = capsys.readouterr().out
    assert "\\x1b[2Jb\\u202ec" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize(
    ("text", "count"), [("0", 0), ("5G", 5 << 30), ("1.5m", 3 << 19), ("300 MiB", 300 << 20), ("7B", 7)]
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert parse_size(text, place="--keep") == count


@pytest.mark.parametrize("text", ["", "five", "-1G", "1X"])
def test_an_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no size"):
        parse_size(text, place="--keep")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1536, "2 KiB"), (3 << 19, "1.5 MiB"), (1 << 42, "4096.0 GiB")]
)
def test_sizes_are_shown(count: int, text: str) -> None:
    assert shown(count) == text


def test_the_projects_engine_options_reach_the_engine(tmp_path: Path) -> None:
    assert engine_environment(tmp_path, {}) == {}
    (tmp_path / "pyproject.toml").write_text('[tool.rondel.engine]\nhost-image = "never"\n')
    assert engine_environment(tmp_path, {}) == {"RONDEL_ENGINE_HOST_IMAGE": "never"}
    assert engine_environment(tmp_path, {"RONDEL_ENGINE_HOST_IMAGE": "auto"}) == {}
    (tmp_path / "pyproject.toml").write_text('[tool.rondel.engine]\ncache-size = "5G"\n')
    assert engine_environment(tmp_path, {}) == {"RONDEL_ENGINE_CACHE_SIZE": "5G"}
    assert engine_environment(tmp_path, {"RONDEL_ENGINE_CACHE_SIZE": "6G"}) == {}
    (tmp_path / "pyproject.toml").write_text('[tool.rondel.engine]\ncache-size = "much"\n')
    with pytest.raises(ConfigurationError, match="'much' is no size"):
        engine_environment(tmp_path, {})


def test_the_store_is_shown_with_its_budget_and_pruned_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RONDEL_ENGINE_HOME", str(tmp_path))
    monkeypatch.setenv("RONDEL_ENGINE_CACHE_SIZE", "3G")

    def engine(*words: str) -> str:
        # In a new process, because the command enters namespaces.
        code = f"import sys; from rondel.cli.main import main; sys.exit(main({['engine', *words]!r}))"
        return subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout

    assert "does not exist yet" not in engine("status")
    assert "budget   3.0 GiB for layers and blobs, 0 B used" in engine("status")
    assert engine("check", "--deep") == "checked 0 layers and 0 blobs\n"
    assert engine("prune") == "freed 0 B\n"
    assert engine("prune", "--keep", "0") == "freed 0 B\n"


def test_a_check_of_a_damaged_store_says_what_it_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RONDEL_ENGINE_HOME", str(tmp_path))
    code = """
import sys
from rondel.cli.main import main
from rondel.engine.namespace import become_root
from rondel.engine.store import Store
become_root()
store = Store.open()
blob = store.blobs.put(b"x")
store.blobs.path(blob).unlink()
store.close()
print(main(["engine", "check"]), main(["engine", "check"]))
"""
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout
    first, removed, forgot, second, codes = done.splitlines()
    assert (first, second) == ("checked 0 layers and 1 blobs", "checked 0 layers and 0 blobs")
    assert removed.startswith("removed blob sha256:")
    assert removed.endswith(": it is missing")
    assert forgot == "forgot 0 results, which will be made again"
    assert codes == "1 0"


@pytest.mark.parametrize("word", ["", "  ", "more"])
def test_an_unexpected_argument_is_reported(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "list", word]) == 20
    assert f"unexpected argument {word!r}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "reproduce"])
def test_a_name_that_is_too_long_for_a_file_is_an_unknown_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main([command, "9" * 400]) == 24
    assert "there is no run '999" in capsys.readouterr().err


def test_without_a_home_the_engine_has_its_store_in_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'p'\n")
    beside = {"RONDEL_ENGINE_HOME": str(tmp_path / ".rondel" / "engine")}
    monkeypatch.setenv("HOME", "/proc/1/no-home")  # nobody can make a folder there
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert engine_environment(tmp_path, {}) == beside
    assert engine_environment(tmp_path, {"RONDEL_ENGINE_HOME": "/srv/rondel"}) == {}
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    assert engine_environment(tmp_path, {}) == {}
    monkeypatch.setattr(Path, "expanduser", no_home)
    assert engine_environment(tmp_path, {}) == beside


def no_home(path: Path) -> Path:
    raise RuntimeError("Could not determine home directory.")
