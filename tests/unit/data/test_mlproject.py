"""MLproject files: what they declare, and what would keep MLflow from running them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from rondel.data.mlproject import entry_points, mlproject_for_container, parameters
from rondel.data.mlproject_check import check_entry_point, missing_parameters
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def write(root: Path, text: str, name: str = "MLproject") -> Path:
    (root / name).write_text(text)
    return root


MAIN = "entry_points:\n  main:\n    parameters: {a: float}\n    command: python x.py {a}\n"


def test_both_forms_of_a_parameter_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        "entry_points:\n  main:\n    parameters:\n      a: float\n      b: {type: path, default: x}\n"
        "      c: {default: 0}\n      d: {type: uri}\n    command: x\n",
    )
    declared = entry_points(tmp_path)["main"]
    found = [(each.name, each.type, each.default) for each in parameters(declared)]
    assert found == [("a", "float", None), ("b", "path", "x"), ("c", "string", 0), ("d", "uri", None)]
    assert missing_parameters(declared, {"d"}) == ("a",)


def test_the_file_is_found_in_whichever_case_it_is_written(tmp_path: Path) -> None:
    assert list(entry_points(write(tmp_path, MAIN, "mlproject"))) == ["main"]


def test_a_name_and_an_empty_file_declare_no_entry_points(tmp_path: Path) -> None:
    assert entry_points(write(tmp_path, "name: only\n")) == {}
    assert entry_points(write(tmp_path, "")) == {}


@pytest.mark.parametrize(
    "text", ["entry_points: [a]\n", "entry_points: {main: {parameters: [a]}}\n", "- a\n"]
)
def test_what_is_no_mapping_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"mapping|keys and values"):
        entry_points(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{MAIN}databricks_spark_job: {{python_file: x}}\n", "Databricks only"),
        (f"{MAIN}python_env: gone.yaml\n", "`python_env` names gone.yaml"),
        (f"{MAIN}conda_env: gone.yaml\n", "`conda_env` names gone.yaml"),
        (f"{MAIN}docker_env: {{}}\n", "names no `image`"),
        (f"{MAIN}docker_env: {{image: x}}\nconda_env: c.yaml\n", "can have only one environment"),
        ("entry_points: {main: {parameters: {}}}\n", "no `command`"),
        ("entry_points: {main: }\n", None),
        ('entry_points: {main: {command: "x {b}"}}\n', "uses {b}"),
        ('entry_points: {main: {command: "x {"}}\n', "can't be read"),
        ('entry_points: {main: {command: "awk {{print}}"}}\n', None),
        (MAIN, None),
        (f"{MAIN}python_env: there.yaml\n", None),
        (f"{MAIN}docker_env: {{image: x}}\n", None),
    ],
)
def test_what_keeps_mlflow_from_running_is_told_before_anything_starts(
    tmp_path: Path, text: str, said: str | None
) -> None:
    (tmp_path / "there.yaml").touch()
    write(tmp_path, text)
    if said is None:
        check_entry_point(tmp_path, "main")
        return
    with pytest.raises(ConfigurationError) as caught:
        check_entry_point(tmp_path, "main")
    assert said in caught.value.what
    assert caught.value.place == "MLproject"


def test_the_stages_image_stands_for_that_of_docker_env(tmp_path: Path) -> None:
    text = (
        f"name: n\n{MAIN}docker_env:\n  image: team/train\n  volumes: ['/a:/b']\n"
        "  environment: [[MODE, fast], TOKEN]\n"
    )
    copy = mlproject_for_container(write(tmp_path, text))
    assert copy is not None
    without = yaml.safe_load(text)
    del without["docker_env"]
    assert yaml.safe_load(copy.text) == without
    assert copy.before == text
    assert copy.environment == {"MODE": "fast"}
    assert copy.from_host == ("TOKEN",)
    assert copy.ignores_volumes
    assert mlproject_for_container(write(tmp_path, MAIN)) is None
