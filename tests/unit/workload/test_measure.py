"""MLflow's measures are the ones that scikit-learn takes, under our names."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from workload import latency, measure, model, scores
from workload.params import Features

FEATURES = Features(categorical=("carrier",), numeric=("hour",))


@pytest.fixture
def frame():
    random = np.random.default_rng(5)
    frame = pd.DataFrame({"carrier": random.choice(["AA", "UA"], 300), "hour": random.random(300)})
    frame["late"] = (frame["hour"] + random.normal(0, 0.3, 300) > 0.7).astype("int64")
    return frame


@pytest.fixture
def fitted(frame, settings):
    train = dataclasses.replace(settings.train, max_iter=40)
    return model.fit(FEATURES, train, frame, frame["late"])


@pytest.mark.filterwarnings("default")  # SQLAlchemy and MLflow warn about MLflow's own code
def test_mlflow_measures_what_scikit_learn_does_and_keeps_its_pictures(tmp_path, monkeypatch, frame, fitted):
    import mlflow

    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        with mlflow.start_run() as run:
            found = measure.evaluate(fitted, frame, ["carrier", "hour"], 0.4)
        files = {each.path for each in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    finally:
        mlflow.set_tracking_uri(None)
    own = scores.score(frame["late"].to_numpy(), fitted.predict_proba(frame[["carrier", "hour"]])[:, 1], 0.4)
    assert set(found) == set(measure.NAMES.values())
    assert found == pytest.approx({name: own[name] for name in found}, abs=2e-6)
    assert {"confusion_matrix.png", "roc_curve_plot.png", "calibration_curve_plot.png"} <= files


def test_a_server_without_evaluations_leaves_the_measures_to_us(monkeypatch, frame, fitted, capsys):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

    def refused(*_args):
        raise MlflowException("no such endpoint", error_code=ENDPOINT_NOT_FOUND)

    monkeypatch.setattr(measure, "_evaluated", refused)
    assert measure.evaluate(fitted, frame, ["carrier", "hour"], 0.4) == {}
    assert "does not serve this" in capsys.readouterr().out


def test_latency_is_milliseconds_for_one_row_and_for_many(frame, fitted):
    found = json.loads(json.dumps(latency.measure(fitted, frame[["carrier", "hour"]])))
    assert set(found) == {"latency_ms", "latency_p95_ms", "latency_batch_ms"}
    assert 0 < found["latency_ms"] <= found["latency_p95_ms"]
    assert found["latency_batch_ms"] > 0
