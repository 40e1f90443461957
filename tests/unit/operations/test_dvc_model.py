"""Which file of DVC is the model, and how it is logged again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from rondel.container_scripts import log_model
from rondel.data import load_project
from rondel.errors import ConfigurationError, DataError, StageFailed
from rondel.operations.program import ProgramResult
from rondel.operations.register.dvc_model import (
    LOG_PROGRAM,
    NO_MLMODEL,
    find_dvc_model,
    logging_command,
    logging_failure,
    logging_program,
)
from rondel.record import CallRecord, StageRecord

if TYPE_CHECKING:
    from pathlib import Path

DVC_YAML = """\
stages:
  prepare: {cmd: prepare, outs: [data.csv]}
  train: {cmd: train, deps: [data.csv, train.py], outs: [model.bin]}
  evaluate: {cmd: evaluate, deps: [data.csv, model.bin], metrics: [metrics.json: {cache: false}], outs: [seen.csv]}
"""
LOCK = """\
schema: '2.0'
stages:
  prepare: {cmd: prepare, outs: [{path: data.csv, hash: md5, md5: aa, size: 1}]}
  train:
    cmd: train
    deps: [{path: data.csv, hash: md5, md5: aa, size: 1}, {path: train.py, hash: md5, md5: ab, size: 1}]
    outs: [{path: model.bin, hash: md5, md5: bb, size: 1}]
"""
GATE = CallRecord(kind="gate", name="toy", details={"metrics": "metrics.json"})


def record(name: str, *uses: CallRecord, **outputs: str) -> StageRecord:
    paths = {path.replace("_", "."): digest for path, digest in outputs.items()}
    return StageRecord(name=name, kind="pure", uses=list(uses), outputs=paths)


PREPARE, TRAIN = record("prepare", data_csv="md5:aa"), record("train", model_bin="md5:bb")
EVALUATE = record("evaluate", GATE, seen_csv="md5:cc")


@pytest.fixture
def project(tmp_path: Path) -> Any:
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "dvc.lock").write_text(LOCK)
    return load_project(tmp_path)


def test_it_is_the_model_that_the_gate_judged(project: Any) -> None:
    found = find_dvc_model(project, [PREPARE, TRAIN, EVALUATE], model="toy")
    assert found is not None
    assert (found.path, found.digest, found.record.name) == ("model.bin", "md5:bb", "train")


def test_without_a_gate_it_is_the_output_that_no_stage_reads(project: Any) -> None:
    assert find_dvc_model(project, [PREPARE, TRAIN], model="toy") is None  # the evaluation reads the model
    plain = DVC_YAML.partition("  evaluate")[0].replace("[model.bin]", "[model.bin, more.bin]")
    (project.root / "dvc.yaml").write_text(plain)
    both = record("train", model_bin="md5:bb", more_bin="md5:dd")
    with pytest.raises(ConfigurationError, match=r"unclear which output is the model: model\.bin, more\.bin"):
        find_dvc_model(load_project(project.root), [PREPARE, both], model="toy")
    found = find_dvc_model(load_project(project.root), [PREPARE, TRAIN], model="toy")
    assert found is not None
    assert found.path == "model.bin"


def test_a_file_that_is_named_has_to_be_an_output_of_the_stages_before(project: Any) -> None:
    found = find_dvc_model(project, [PREPARE, TRAIN, EVALUATE], model="toy", model_file="data.csv")
    assert found is not None
    assert found.record.name == "prepare"
    with pytest.raises(ConfigurationError, match=r"nothing\.bin is not an output of the stages"):
        find_dvc_model(project, [PREPARE, TRAIN], model="toy", model_file="nothing.bin")


def test_a_single_file_is_logged_by_the_teams_command_only(project: Any) -> None:
    found = find_dvc_model(project, [TRAIN, EVALUATE], model="toy")
    assert found is not None
    assert logging_command(found, "toy", "python log.py") == "python log.py"
    with pytest.raises(DataError, match="no model to register") as caught:
        logging_command(found, "toy", None)
    assert "log=" in str(caught.value.hint)
    program = logging_program(project, found, "python log.py")
    assert program.needs == ("model.bin", "data.csv")
    assert program.commands == ("python log.py",)


def test_each_failure_has_its_own_error(project: Any) -> None:
    found = find_dvc_model(project, [TRAIN, EVALUATE], model="toy")
    assert found is not None
    lost = logging_failure(found, ProgramResult(phase="data", code=1), "python log.py")
    assert isinstance(lost, DataError)
    assert "model.bin is lost" in lost.what
    failed = logging_failure(found, ProgramResult(phase="command", code=7), "python log.py")
    assert isinstance(failed, StageFailed)
    assert "exit code 7" in failed.what
    strange = logging_failure(
        found, ProgramResult(phase="command", code=NO_MLMODEL), f"python {LOG_PROGRAM} m toy"
    )
    assert "without an MLmodel file" in str(strange.why)


@pytest.mark.filterwarnings("ignore")  # SQLAlchemy and MLflow warn about MLflow's own code
def test_a_folder_in_mlflows_format_is_logged_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        (tmp_path / "code.py").write_text(
            "import mlflow\nmlflow.models.set_model(lambda model_input: [0.7])\n"
        )
        mlflow.pyfunc.save_model("model", python_model="code.py", pip_requirements=["mlflow"])
        with mlflow.start_run() as run:
            monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
            assert log_model.main("model", "toy") == 0
            assert log_model.main(str(tmp_path), "toy") == NO_MLMODEL
        (found,) = mlflow.search_logged_models(output_format="list")
        assert (found.name, found.source_run_id, str(found.status)) == ("toy", run.info.run_id, "READY")
        assert mlflow.pyfunc.load_model(f"models:/{found.model_id}").predict(["x"]) == [0.7]
    finally:
        mlflow.set_tracking_uri(None)
        sys.modules.pop("code", None)
