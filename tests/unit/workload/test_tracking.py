"""What is logged where, seen in a real tracking database."""

import dataclasses
import hashlib

import numpy as np
import pandas as pd
import pytest

from workload import model, tracking
from workload.params import Features


def test_parameters_have_the_names_that_dvc_gives_them(settings):
    names = tracking.parameters(settings, "train", "prepare")
    assert names["train.max_iter"] == 200
    assert names["prepare.test_months"] == "9"


def test_the_hash_is_the_one_dvc_uses(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"flights")
    assert tracking.file_md5(path) == hashlib.md5(b"flights").hexdigest()


def test_serving_needs_are_pinned():
    pins = tracking.serving_requirements()
    assert any(pin.startswith("scikit-learn==") for pin in pins)
    assert all("==" in pin for pin in pins)


@pytest.mark.filterwarnings("default")  # SQLAlchemy and MLflow warn about MLflow's own code
def test_a_run_holds_parameters_data_and_a_model_that_predicts(tmp_path, monkeypatch, settings):
    import mlflow

    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    random = np.random.default_rng(2)
    frame = pd.DataFrame({"carrier": random.choice(["AA", "UA"], 100), "hour": random.random(100)})
    frame["late"] = (frame["hour"] > 0.5).astype("int64")
    data, stored = tmp_path / "train.parquet", tmp_path / "model.skops"
    frame.to_parquet(data)
    features = Features(categorical=("carrier",), numeric=("hour",))
    train = dataclasses.replace(settings.train, max_iter=3)
    fitted = model.fit(features, train, frame, frame["late"])
    stored.write_bytes(model.dumps(fitted))
    try:
        with tracking.run("train"):
            tracking.log_parameters({"train.max_iter": 3})
            tracking.log_metrics({"rows": 100})
            tracking.log_dataset(frame, data, "late", "training")
            tracking.log_model(fitted, frame[["carrier", "hour"]], stored)
            run_id = mlflow.active_run().info.run_id
        found = mlflow.get_run(run_id)
        assert found.info.status == "FINISHED"
        assert found.data.params == {"train.max_iter": "3"}
        assert found.data.metrics["rows"] == 100
        tags = {tag.key: tag.value for tag in found.inputs.dataset_inputs[0].tags}
        assert tags["dvc.md5"] == tracking.file_md5(data)
        served = mlflow.pyfunc.load_model(f"runs:/{run_id}/{tracking.MODEL_NAME}")
        assert served.metadata.get_input_schema().input_names() == ["carrier", "hour"]
        assert served.predict(frame[["carrier", "hour"]]).shape == (100, 2)
    finally:
        mlflow.set_tracking_uri(None)
