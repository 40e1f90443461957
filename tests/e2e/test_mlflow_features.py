"""What training programs do with MLflow, in stages: one run of a pipeline, looked at from several sides."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from mlflow_runs import Server, values
from small_project import copy_image, git, run, write_files

from rondel.record import load

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from rondel.record import Capsule, RunFolder

pytestmark = pytest.mark.container

FILES = {
    "ci/main.py": """
from rondel import Pipeline

pipeline = Pipeline()
pipeline.mlflow("search", timeout=400)
pipeline.mlflow("judge", C=0.5, timeout=400)

if __name__ == "__main__":
    pipeline.main()
""",
    "MLproject": """
name: features
docker_env:
  image: registry.example.org/team/train:1
  environment: [[MODE, tried]]
entry_points:
  search:
    parameters:
      folds: {type: float, default: 2}
    command: python search.py {folds}
  judge:
    parameters:
      C: float
    command: python judge.py {C}
""",
    "data.py": """
import numpy as np
import pandas as pd


def data() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(200, 3)), columns=["a", "b", "c"])
    frame["y"] = (frame["a"] + frame["b"] > 0).astype(int)
    return frame
""",
    # Autologging, which opens a nested run for each candidate of a search; then a second run
    # of its own, with system metrics. (Not beside `evaluate`: MLflow 3.17's monitor and the imports of
    # its evaluators may wait for one another for ever.)
    "search.py": """
import os
import sys
import time

import mlflow
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from data import data

print("mode", os.environ["MODE"])
mlflow.sklearn.autolog(log_models=False, log_datasets=True, max_tuning_runs=2)
frame = data()
grid = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=int(float(sys.argv[1])))
grid.fit(frame[["a", "b", "c"]], frame["y"])
mlflow.sklearn.autolog(disable=True)
mlflow.set_system_metrics_sampling_interval(0.2)
mlflow.set_system_metrics_samples_before_logging(1)
with mlflow.start_run(run_name="second", log_system_metrics=True):
    mlflow.log_metric("later", 1)
    time.sleep(1)
""",
    # Dataset, signature and evaluation in the stage's run, and one nested in it.
    "judge.py": """
import sys

import mlflow
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from data import data

frame = data()
features = frame[["a", "b", "c"]]
model = LogisticRegression(C=float(sys.argv[1])).fit(features, frame["y"])
with mlflow.start_run():
    mlflow.log_input(mlflow.data.from_pandas(frame, targets="y", name="points"), context="training")
    logged = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=infer_signature(features, model.predict(features)),
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
    )
    mlflow.models.evaluate(
        logged.model_uri,
        frame,
        targets="y",
        model_type="classifier",
        evaluator_config={"log_explainer": False},
    )
    with mlflow.start_run(nested=True, run_name="inner"):
        mlflow.log_metric("inside", 2)
""",
    ".gitignore": "/.rondel/\n/mlruns/\n*.db\n",
}


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, team_server: str
) -> tuple[Path, RunFolder, Capsule, subprocess.CompletedProcess[str]]:
    root = tmp_path_factory.mktemp("features")
    write_files(root, FILES)
    copy_image(root)
    for words in (["init", "-q", "-b", "main", "."], ["add", "-A"], ["commit", "-qm", "one"]):
        git(root, *words)
    command = ["python", "ci/main.py", "search", "judge", "-P", "search.folds=3"]
    ran = run(root, *command, timeout=900, MLFLOW_TRACKING_URI=team_server)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return root, *load(root), ran


@pytest.fixture(scope="module")
def server(done: tuple[Any, ...]) -> Iterator[Server]:
    with Server(done[2]) as server:
        yield server


def test_autologging_fills_the_stages_run(server: Server) -> None:
    run = server.stage("search")
    assert values(run, "params")["best_C"] in {"0.1", "1.0"}
    assert values(run, "params")["cv"] == "3"
    assert "best_cv_score" in values(run, "metrics")
    assert run["inputs"]["dataset_inputs"]
    assert run["info"]["status"] == "FINISHED"


def test_candidates_of_a_search_are_nested_in_the_stages_run(server: Server) -> None:
    children = server.below(server.stage("search"))
    assert len([run for run in children.values() if "C" in values(run, "params")]) == 2


def test_a_second_run_of_a_program_stands_below_the_stages(server: Server) -> None:
    second = server.below(server.stage("search"))["second"]
    assert values(second, "metrics")["later"] == 1


def test_a_nested_run_stands_below_the_stages(server: Server) -> None:
    inner = server.below(server.stage("judge"))["inner"]
    assert values(inner, "metrics")["inside"] == 2


def test_every_run_is_tagged_with_the_commit(
    server: Server, done: tuple[Path, RunFolder, Capsule, Any]
) -> None:
    root, _, _, _ = done
    head = git(root, "rev-parse", "HEAD")
    stages = [server.stage("search"), server.stage("judge")]
    runs = [server.parent(), *stages]
    runs += [server.below(stages[0])["second"], server.below(stages[1])["inner"]]
    for each in runs:
        assert values(each, "tags")["mlflow.source.git.commit"] == head
        assert values(each, "tags")["mlflow.source.git.branch"] == "main"


def test_a_dataset_is_an_input_of_the_stages_run(server: Server) -> None:
    (found,) = server.stage("judge")["inputs"]["dataset_inputs"][:1]
    assert found["dataset"]["name"] == "points"
    assert {"key": "mlflow.data.context", "value": "training"} in found["tags"]


def test_an_evaluation_logs_metrics_and_pictures(server: Server) -> None:
    assert values(server.stage("judge"), "metrics")["accuracy_score"] > 0.8
    assert values(server.stage("judge"), "metrics")["roc_auc"] > 0.8


def test_system_metrics_are_measured_in_the_container(server: Server) -> None:
    names = values(server.below(server.stage("search"))["second"], "metrics").keys()
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= names


def test_a_model_is_logged_with_its_signature(server: Server) -> None:
    (model,) = server.models(server.stage("judge"))
    assert model["info"]["name"] == "model"
    assert model["info"]["status"] in {"READY", "LOGGED_MODEL_READY"}
    signature = yaml.safe_load(server.file(model, "MLmodel"))["signature"]
    assert [column["name"] for column in json.loads(signature["inputs"])] == ["a", "b", "c"]


def test_parameters_of_the_entry_point_are_those_of_its_run(server: Server) -> None:
    assert values(server.stage("judge"), "params")["C"] == "0.5"
    assert values(server.stage("search"), "params")["folds"] == "3"
    assert values(server.stage("judge"), "tags")["mlflow.project.entryPoint"] == "judge"


def test_variables_of_docker_env_are_set_and_no_docker_is_asked_for(
    done: tuple[Path, RunFolder, Capsule, Any],
) -> None:
    assert "mode tried" in done[1].log("search").read_text()


def test_links_in_the_log_open_on_this_machine(
    done: tuple[Path, RunFolder, Capsule, subprocess.CompletedProcess[str]], team_server: str
) -> None:
    _, folder, capsule, ran = done
    logs = folder.log("search").read_text() + folder.log("judge").read_text()
    record = capsule.stage("judge").mlflow
    assert record is not None
    assert f"{team_server}/#/experiments/" in logs
    assert f"/runs/{record.run_id}" in logs
    assert "http://mlflow" not in logs + ran.stdout + ran.stderr
