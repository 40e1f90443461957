"""Whatever stands in the files and flags that people write: a plan or an error of Rondel's, never a traceback."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rondel.cli import main as rondel
from rondel.errors import ConfigurationError, RondelError
from rondel.gates import evaluate, parse_rules
from rondel.gates.metrics import parse_metrics
from rondel.pipeline import Pipeline, Selection
from rondel.reports.plan import show_plan
from rondel.runner.decide import forecast
from rondel.runner.prepare import prepare_run
from rondel.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from rondel import StageContext

FILES = {
    "dvc.yaml": """stages:
  train:
    cmd: python train.py
    deps: [train.py, data.csv]
    params: [rate, n.m]
    outs:
    - model.bin
    metrics:
    - metrics.json: {cache: false}
""",
    "params.yaml": "rate: 1\nn: {m: 2}\n",
    "dvc.lock": """schema: '2.0'
stages:
  train:
    cmd: python train.py
    deps:
    - {path: train.py, hash: md5, md5: 0123456789abcdef0123456789abcdef, size: 3}
    params:
      params.yaml: {rate: 1, n.m: 2}
    outs:
    - {path: model.bin, hash: md5, md5: 0123456789abcdef0123456789abcdef, size: 3}
""",
    "data.csv.dvc": "outs:\n- md5: a255512f9d61a6777bd5a304235bd26d\n  size: 3\n  hash: md5\n  path: data.csv\n",
    "pyproject.toml": '[project]\nname = "p"\n[tool.rondel]\njobs = 2\nsecrets = ["A"]\nbuild-args = {A = "b"}\n'
    "[tool.rondel.engine]\ncache-size = '10GB'\n",
    "Containerfile": "ARG V=3.11\nFROM python:${V}-slim AS stage\nCOPY --chown=1 train.py .\nRUN <<E\ntrue\nE\n",
    "MLproject": "name: p\nentry_points:\n  main:\n    parameters: {a: {type: float, default: 1}}\n    command: x\n",
    "metrics.json": '{"auc": 0.5, "slices": {"origin": {"JFK": {"auc": 0.4}}}}',
}

PIECES = (
    "", "[", "]", "{", "}", ": ", "- ", "\n", "  ", "\t", "#", "'", '"', "|", ">", "&a ", "*a", "<<: ", "!!int ",
    "!!float ", "!!timestamp ", "!!binary ", "!!set ", "!x ", "? ", "---\n", "%YAML 9\n", "~", "null", "true",
    "2024-99-99", "1e999", ".nan", "-", "0x", "${", "${rate}", "..", "/", "\\", "\0", "\x1b", "\ufeff", "é", "\U0001f600",
    "9" * 5000, "a" * 300, "[" * 5000, "ARG ", "FROM ", "RUN ", "COPY --from=", "<<E", "=", "[[", "$", "stages", "cmd",
)  # fmt: skip

few = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,  # the same examples each time
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
many = settings(few, max_examples=1000, derandomize=False)


@st.composite
def spoilt(draw: st.DrawFn, text: str) -> bytes:
    """A file's text with some pieces put in, cut out or written over, seldom bytes that are no text at all."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.sampled_from([0, 0, 1, 3, 20]))
        text = text[:start] + draw(st.sampled_from(PIECES)) + text[start + length :]
    data = text.encode()
    return data + b"\xff\xfe" if draw(st.integers(0, 30)) == 0 else data


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    for name in ("train.py", "data.csv"):
        (tmp_path / name).write_text("x=1")
    (tmp_path / ".dvc").mkdir()
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    return tmp_path


def plan(root: Path, flags: dict[str, Any] | None = None, params: tuple[tuple[str, str], ...] = ()) -> str:
    """What ``--dry-run`` does, in this process."""
    pipeline = Pipeline()
    train = pipeline.dvc("train")
    entry = pipeline.mlflow("main")

    @pipeline.stage(needs=[train, entry])
    async def judge(ctx: StageContext) -> None:
        await ctx.gate("auc >= 0.5", metrics="metrics.json", model="m")

    found = load_settings(root, flags, {})
    prepared = prepare_run(
        pipeline, Selection(targets=("judge",)), replace(found, params=params), {}, file="ci/main.py"
    )
    return "\n".join(show_plan(prepared, forecast(prepared), engine=found.engine))


def test_the_project_as_it_is_has_a_plan(project: Path) -> None:
    assert "python train.py" in plan(project)


spoilable = pytest.mark.parametrize("name", [name for name in FILES if name != "metrics.json"])
RULES = st.sampled_from(["auc >= 0.5", "auc[origin=JFK] <= 1", "auc >= champion.auc - 0.1"])
RULE_TEXTS = st.text(max_size=30) | st.sampled_from(PIECES).map(lambda piece: f"auc {piece} 0.5")
KEYS = st.sampled_from(["rate", "n", "n.m", "n.0", ".", "", "rate.x"])
WORDS = st.sampled_from(
    ("--jobs", "-P", "--json", "-x", "--", "", "list", "show", "export", "prune", "generate", "check", "status",
     "0", "-1", "nope", "a\nb", "é", "--stop=x", "--help=1", "a@b", "x/9", "..", "/nonexistent", "9" * 400)
)  # fmt: skip
COMMANDS = st.sampled_from(("runs", "show", "parity", "why", "reproduce", "ci", "engine"))


def plan_or_tell(root: Path, name: str, spoilt_file: bytes) -> None:
    (root / name).write_bytes(spoilt_file)
    try:
        plan(root)
    except RondelError as error:
        assert error.what  # noqa: PT017 - any of them will do
        assert error.exit_code in {20, 23}  # noqa: PT017
    finally:
        (root / name).write_text(FILES[name])


def judge(text: bytes, is_json: bool, rule: str) -> None:
    metrics = parse_metrics(text.decode("utf-8", "replace"), source="metrics.json", is_json=is_json)
    verdict = evaluate(parse_rules([rule]), metrics)
    assert verdict.passed or all(result.reason for result in verdict.results if not result.passed)


def parse_or_tell(rule: str) -> None:
    try:
        parse_rules([rule])
    except RondelError as error:
        assert isinstance(error, ConfigurationError)  # noqa: PT017


def take_or_tell(root: Path, key: str, value: str) -> None:
    try:
        plan(root, params=((key, value),))
    except RondelError as error:
        assert isinstance(error, ConfigurationError)  # noqa: PT017


def run_or_tell(capsys: pytest.CaptureFixture[str], command: str, words: list[str]) -> None:
    try:
        code = rondel([command, *words])
    except SystemExit as left:
        assert left.code == 0  # noqa: PT017 - `--help`
        return
    out, err = capsys.readouterr()
    assert code in {0, 20, 24, 25, 30, 31}
    assert (code in {0, 30, 31}) or err.strip(), out


@pytest.fixture
def at_home(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))


@spoilable
@few
@given(data=st.data())
def test_a_spoilt_file_is_planned_or_told(project: Path, name: str, data: st.DataObject) -> None:
    plan_or_tell(project, name, data.draw(spoilt(FILES[name])))


@few
@given(text=spoilt(FILES["metrics.json"]), is_json=st.booleans(), rule=RULES)
def test_spoilt_metrics_give_a_verdict(text: bytes, is_json: bool, rule: str) -> None:
    judge(text, is_json, rule)


@few
@given(rule=RULE_TEXTS)
def test_a_rule_parses_or_is_told(rule: str) -> None:
    parse_or_tell(rule)


@few
@given(key=KEYS, value=st.sampled_from(PIECES))
def test_a_parameter_is_taken_or_told(project: Path, key: str, value: str) -> None:
    take_or_tell(project, key, value)


@few
@pytest.mark.usefixtures("at_home")
@given(command=COMMANDS, words=st.lists(WORDS, max_size=3))
def test_a_command_line_is_run_or_told(
    capsys: pytest.CaptureFixture[str], command: str, words: list[str]
) -> None:
    run_or_tell(capsys, command, words)


@pytest.mark.soak
@spoilable
@many
@given(data=st.data())
def test_a_spoilt_file_is_planned_or_told_for_long(project: Path, name: str, data: st.DataObject) -> None:
    plan_or_tell(project, name, data.draw(spoilt(FILES[name])))


@pytest.mark.soak
@many
@given(text=spoilt(FILES["metrics.json"]), is_json=st.booleans(), rule=RULES)
def test_spoilt_metrics_give_a_verdict_for_long(text: bytes, is_json: bool, rule: str) -> None:
    judge(text, is_json, rule)


@pytest.mark.soak
@many
@given(rule=RULE_TEXTS)
def test_a_rule_parses_or_is_told_for_long(rule: str) -> None:
    parse_or_tell(rule)


@pytest.mark.soak
@many
@given(key=KEYS, value=st.sampled_from(PIECES) | st.text(max_size=20))
def test_a_parameter_is_taken_or_told_for_long(project: Path, key: str, value: str) -> None:
    take_or_tell(project, key, value)


@pytest.mark.soak
@many
@pytest.mark.usefixtures("at_home")
@given(command=COMMANDS, words=st.lists(WORDS | st.text(max_size=9), max_size=4))
def test_a_command_line_is_run_or_told_for_long(
    capsys: pytest.CaptureFixture[str], command: str, words: list[str]
) -> None:
    run_or_tell(capsys, command, words)
