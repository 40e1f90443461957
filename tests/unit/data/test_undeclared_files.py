"""Which opened files a stage does not declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rondel.data.model import DvcStage, Out, ParamSource
from rondel.data.undeclared_files import OpenedFiles, find_undeclared, links_of

if TYPE_CHECKING:
    from pathlib import Path

STAGE = DvcStage(
    name="train",
    file="dvc.yaml",
    cmd=("python src/train.py",),
    deps=("src/train.py", "data/", "./lib", "s3://bucket/x"),
    params=(ParamSource(path="params.yaml", keys=("lr",)),),
    outs=(Out(path="model"), Out(path="metrics.json", kind="metric", cached=False)),
)


def read(*opened: str, stage: DvcStage = STAGE) -> tuple[str, ...]:
    return find_undeclared(stage, opened).read


@pytest.mark.parametrize(
    "path",
    [
        "src/train.py",
        "data/a.csv",
        "data/deep/b.csv",
        "lib/x.py",
        "params.yaml",
        "model/x.bin",
        "metrics.json",
    ],
)
def test_what_a_dependency_a_parameter_file_or_an_output_covers_is_declared(path: str) -> None:
    assert find_undeclared(STAGE, [path]) == OpenedFiles()


@pytest.mark.parametrize(
    "path", ["src/helper.py", "src/train.py2", "database.csv", "dat", ".env", "conf/params.yaml"]
)
def test_what_nothing_covers_is_undeclared(path: str) -> None:
    assert read(path) == (path,)


def test_the_files_are_told_once_and_in_order() -> None:
    assert read("src/z.py", "src/a.py", "src/z.py", "src/train.py") == ("src/a.py", "src/z.py")


def test_a_dependency_on_the_whole_project_covers_everything() -> None:
    assert read("src/helper.py", stage=DvcStage(name="x", file="dvc.yaml", cmd=("x",), deps=(".",))) == ()


def test_a_stage_without_dependencies_declares_nothing() -> None:
    assert read("src/train.py", stage=DvcStage(name="x", file="dvc.yaml", cmd=("x",))) == ("src/train.py",)


@pytest.mark.parametrize(
    "path",
    [
        "dvc.yaml", "dvc.lock", "sub/dvc.yaml", "raw/big.csv.dvc", ".dvc/config", "sub/.dvc/config", ".dvcignore",
        ".gitignore", "raw/.gitignore", ".gitattributes", ".git/HEAD", ".git",
    ],
)  # fmt: skip
def test_files_of_dvc_and_git_are_no_inputs(path: str) -> None:
    assert find_undeclared(STAGE, [path]) == OpenedFiles()


@pytest.mark.parametrize(
    "path", [".github/train.yml", ".gitlab/helper.py", "dvc.yaml.py", "notes.dvc/helper.py"]
)
def test_a_name_that_only_resembles_dvcs_or_gits_is_an_input(path: str) -> None:
    assert read(path) == (path,)


@pytest.mark.parametrize(
    "path",
    [
        "pyproject.toml",
        "sub/setup.cfg",
        "requirements.txt",
        "requirements-dev.txt",
        "dev-requirements.in",
        "uv.lock",
    ],
)
def test_settings_of_tools_are_told_apart(path: str) -> None:
    found = find_undeclared(STAGE, [path])
    assert found == OpenedFiles(settings=(path,))
    assert found.quiet == (path,)


def test_declared_settings_are_declared() -> None:
    stage = DvcStage(name="x", file="dvc.yaml", cmd=("x",), params=(ParamSource(path="pyproject.toml"),))
    assert find_undeclared(stage, ["pyproject.toml"]) == OpenedFiles()


def test_bytecode_stands_for_its_source() -> None:
    found = read("src/__pycache__/helper.cpython-311.pyc", "src/__pycache__/train.cpython-312.opt-1.pyc")
    assert found == ("src/helper.py",)
    assert read("__pycache__/top.cpython-311.pyc") == ("top.py",)


def test_an_empty_package_file_says_nothing_and_one_with_content_does() -> None:
    opened = ["src/__init__.py", "src/sub/__init__.py", "empty.csv"]
    found = find_undeclared(STAGE, opened, empty={"src/__init__.py", "empty.csv"})
    assert found.read == ("empty.csv", "src/sub/__init__.py")
    assert found.quiet == ("src/__init__.py",)


def test_what_is_only_written_is_told_apart() -> None:
    found = find_undeclared(
        STAGE, ["log.txt", "src/helper.py", "metrics.json"], written={"log.txt", "metrics.json"}
    )
    assert found == OpenedFiles(read=("src/helper.py",), written=("log.txt",))


def test_what_the_runner_opens_itself_is_not_the_stages() -> None:
    stage = DvcStage(name="x", file="dvc.yaml", cmd=("x",))
    assert find_undeclared(stage, ["params.yaml", "a.py"], also=["params.yaml"]).read == ("a.py",)


def test_a_declared_link_covers_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "shared" / "v1").mkdir(parents=True)
    (tmp_path / "shared" / "v1" / "a.csv").touch()
    (tmp_path / "data").symlink_to("shared/v1")
    (tmp_path / "lib").symlink_to("/usr/lib")
    links = links_of(tmp_path, STAGE)
    assert links == {"data/": "shared/v1"}
    found = find_undeclared(STAGE, ["shared/v1/a.csv", "shared/v2/a.csv"], links=links)
    assert found.read == ("shared/v2/a.csv",)
