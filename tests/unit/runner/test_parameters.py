"""Values of ``-P`` and of calls: parsed by the parameter's type, or refused before anything starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rondel.errors import ConfigurationError
from rondel.pipeline import Pipeline
from rondel.runner.check import check_calls, check_inputs, parse_overrides
from rondel.runner.disk_project import DiskProject
from rondel.settings import Settings
from rondel.testing import plan_of

if TYPE_CHECKING:
    from pathlib import Path

PARAMS = 'rate: 0.1\ndepth: 3\nflag: true\nversion: "1.0"\nlayers: [1, 2]\nlimit: null\nday: 2026-01-01\n'

MLPROJECT = """\
name: p
entry_points:
  main:
    parameters:
      alpha: float
      data: {type: path, default: data.csv}
      where: {type: uri, default: "s3://bucket/x"}
      tag: {default: 1.0}
    command: python main.py {alpha}
  plain:
    command: python main.py
"""


@pytest.fixture
def disk(tmp_path: Path) -> DiskProject:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "dvc.yaml").write_text("stages:\n  train:\n    cmd: x\n    params: [{params.yaml: }]\n")
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "MLproject").write_text(MLPROJECT)
    (tmp_path / "script.py").touch()
    return DiskProject(Settings(root=tmp_path), {})


def given(pipeline: Pipeline, disk: DiskProject, *pairs: str) -> dict[str, dict[str, Any]]:
    plan = plan_of(pipeline, *(stage.base for stage in pipeline.stages()))
    check_calls((planned.stage for planned in plan.stages), disk)
    overrides = parse_overrides([tuple(pair.split("=", 1)) for pair in pairs], plan, disk)  # type: ignore[misc]
    check_inputs(plan, disk, overrides)
    return overrides


def train() -> Pipeline:
    pipeline = Pipeline()
    pipeline.dvc("train")
    return pipeline


def entry(**values: Any) -> Pipeline:
    pipeline = Pipeline()
    pipeline.mlflow("main", **values)
    return pipeline


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("rate=1", 1),
        ("rate=1e-3", 0.001),
        ("depth=2.5", 2.5),
        ("depth=null", None),
        ("flag=false", False),
        ("version=1.10", "1.10"),
        ("version=007", "007"),
        ("version=no", "no"),
        ("version=2026-01-01", "2026-01-01"),
        ("version='quoted'", "quoted"),
        ("version=", ""),
        ("layers=[3]", [3]),
        ("layers.1=5", 5),
        ("limit=deep", "deep"),
        ("limit=4", 4),
    ],
)
def test_a_value_is_read_as_what_the_file_has(disk: DiskProject, pair: str, value: Any) -> None:
    name = pair.partition("=")[0]
    found = given(train(), disk, pair)["train"][name]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "pair",
    [
        "rate=fast",
        "rate=true",
        "rate=",
        "depth=[1]",
        "flag=1",
        "flag=yes",
        "layers=3",
        "version=[1]",
        "day=5",
    ],
)
def test_a_value_of_another_kind_is_refused(disk: DiskProject, pair: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        given(train(), disk, pair)
    assert caught.value.place == f"-P {pair}"
    assert caught.value.why or caught.value.hint


@pytest.mark.parametrize("call", ["rate='fast'", "params={'rate': True}", "params={'layers': 3}"])
def test_a_value_in_the_code_is_checked_as_well(disk: DiskProject, call: str) -> None:
    (disk.root / "main.py").write_text(
        f"from rondel import Pipeline\npipeline = Pipeline()\n@pipeline.stage\n"
        f"async def one(ctx):\n    await ctx.dvc('train', {call})\n"
    )
    from rondel.pipeline import load_pipeline

    with pytest.raises(ConfigurationError, match="wrong type") as caught:
        given(load_pipeline(disk.root / "main.py"), disk)
    assert caught.value.place.startswith("params.yaml:")


def test_an_entry_point_without_a_value_that_it_needs_is_refused(disk: DiskProject) -> None:
    with pytest.raises(ConfigurationError) as caught:
        given(entry(), disk)
    assert "stage 'main': no value for 'alpha'" in caught.value.what
    assert "pipeline.mlflow('main', alpha=…)" in caught.value.hint
    assert "-P main.alpha=VALUE" in caught.value.hint
    assert "test_parameters.py" in caught.value.place


def test_the_value_may_come_from_the_code_the_command_line_or_a_matrix(disk: DiskProject) -> None:
    assert given(entry(alpha=0.1), disk) == {}
    assert given(entry(), disk, "main.alpha=0.5") == {"main": {"alpha": 0.5}}
    (disk.root / "main.py").write_text(
        "from rondel import Pipeline\npipeline = Pipeline()\n@pipeline.stage(matrix={'alpha': [1, 2]})\n"
        "async def grid(ctx):\n    await ctx.mlflow('main')\n"
    )
    from rondel.pipeline import load_pipeline

    assert given(load_pipeline(disk.root / "main.py"), disk) == {}


def test_a_stage_that_is_done_or_not_part_of_the_run_needs_no_value(disk: DiskProject) -> None:
    pipeline = entry()
    pipeline.mlflow("plain")
    check_inputs(plan_of(pipeline, "plain"), disk, {})
    check_inputs(plan_of(pipeline, "main"), disk, {}, done=("main",))
    with pytest.raises(ConfigurationError, match="no value for 'alpha'"):
        check_inputs(plan_of(pipeline, "main"), disk, {})


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("main.alpha=1e-5", "1e-5"),
        ("main.alpha=2", 2),
        ("main.tag=1.10", "1.10"),
        ("main.tag=true", "true"),
        ("main.data=other.csv", "other.csv"),
        ("main.where=https://example.org/x", "https://example.org/x"),
    ],
)
def test_an_entry_point_gets_what_was_written(disk: DiskProject, pair: str, value: Any) -> None:
    name = pair.partition("=")[0].removeprefix("main.")
    assert given(entry(alpha=1), disk, pair)["main"][name] == value


@pytest.mark.parametrize(
    "pair", ["main.alpha=fast", "main.alpha=true", "main.alpha=", "main.where=data.csv", "main.data="]
)
def test_a_value_that_the_declared_type_excludes_is_refused(disk: DiskProject, pair: str) -> None:
    with pytest.raises(ConfigurationError, match="wrong type") as caught:
        given(entry(alpha=1), disk, pair)
    assert caught.value.place == f"-P {pair}"
    assert "MLproject declares" in str(caught.value.why)


@pytest.mark.parametrize("values", [{"alpha": "fast"}, {"alpha": True}, {"alpha": 1, "where": "x"}])
def test_a_value_in_the_pipeline_that_the_declared_type_excludes_is_refused(
    disk: DiskProject, values: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="wrong type"):
        given(entry(**values), disk)


def test_a_script_is_an_entry_point_as_it_is_to_mlflow(disk: DiskProject) -> None:
    pipeline = Pipeline()
    pipeline.mlflow("script.py", name="script")
    assert given(pipeline, disk) == {}
    other = Pipeline()
    other.mlflow("gone.py", name="gone")
    with pytest.raises(ConfigurationError, match="does not have"):
        given(other, disk)


def test_a_stage_with_git_needs_a_commit(disk: DiskProject) -> None:
    pipeline = Pipeline()
    pipeline.dvc("train", git=True)
    with pytest.raises(ConfigurationError, match="needs the git repository") as caught:
        given(pipeline, disk)
    assert "test_parameters.py" in str(caught.value.place)
