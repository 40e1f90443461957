"""What the stages write to MLflow, through MLflow's own client.

Inside the pipeline ``MLFLOW_TRACKING_URI`` and ``MLFLOW_RUN_ID`` say where to
write; alone, a stage opens a run of its own wherever MLflow is configured to.
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from workload.model import TRUSTED_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from sklearn.pipeline import Pipeline

    from workload.params import Params

EXPERIMENT = "flight-delay"
MODEL_NAME = "flight-delay"
HASH_TAG = "dvc.md5"
_SERVING_NEEDS = ("mlflow-skinny", "numpy", "pandas", "scikit-learn", "skops")
_EXAMPLE_ROWS = 5
_NOT_SERVED = {"ENDPOINT_NOT_FOUND", "RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "NOT_IMPLEMENTED"}


@contextmanager
def run(stage: str) -> Iterator[None]:
    """The MLflow run of a stage: the one that the environment names, or a new one."""
    import mlflow

    if not os.environ.get("MLFLOW_RUN_ID"):
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
    with mlflow.start_run(run_name=None if os.environ.get("MLFLOW_RUN_ID") else stage):
        yield


def parameters(params: Params, *sections: str) -> dict[str, str | int | float]:
    """Sections of the parameters under the names that DVC gives them (``train.max_iter``)."""
    flat: dict[str, str | int | float] = {}
    for section in sections:
        for key, value in asdict(getattr(params, section)).items():
            flat[f"{section}.{key}"] = ", ".join(map(str, value)) if isinstance(value, tuple) else value
    return flat


def log_parameters(values: Mapping[str, str | int | float]) -> None:
    """Log parameters in one request."""
    import mlflow

    mlflow.log_params(dict(values))


def log_metrics(values: Mapping[str, float]) -> None:
    """Log metrics in one request."""
    import mlflow

    mlflow.log_metrics(dict(values))


def log_figures(figures: Sequence[Path]) -> None:
    """Store pictures under ``figures/`` of the run."""
    import mlflow

    for path in figures:
        mlflow.log_artifact(str(path), "figures")


def log_dataset(frame: pd.DataFrame, path: Path, target: str, context: str) -> None:
    """Log which data was used, with the hash by which DVC knows it."""
    import mlflow.data.pandas_dataset

    digest = file_md5(path)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer column")
        warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted")
        # MLflow's own digest walks over every value; DVC's hash names the same content and is known.
        dataset = mlflow.data.pandas_dataset.from_pandas(
            frame, source=str(path), targets=target, name=path.stem, digest=digest[:8]
        )
        tags = {HASH_TAG: digest, "dvc.path": str(path)}
        if_served(lambda: mlflow.log_input(dataset, context=context, tags=tags))
    mlflow.set_tags({f"{HASH_TAG}.{path.stem}": digest})


def log_model(model: Pipeline, example: pd.DataFrame, stored: Path) -> None:
    """Log the model with signature, input example and the few packages that serving it needs."""
    import mlflow

    # A uv environment holds no pip; that the model's conda.yaml cannot pin it concerns nobody.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    # The project's lock is in git, at the commit that the run names; the model needs far less.
    os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")
    example = example.head(_EXAMPLE_ROWS)
    digest = file_md5(stored)
    signature = mlflow.models.infer_signature(example, model.predict_proba(example))
    mlflow.set_tags({f"{HASH_TAG}.model": digest})
    if_served(
        lambda: mlflow.sklearn.log_model(
            model,
            name=MODEL_NAME,
            signature=signature,
            input_example=example,
            pip_requirements=serving_requirements(),
            pyfunc_predict_fn="predict_proba",
            skops_trusted_types=list(TRUSTED_TYPES),
            tags={HASH_TAG: digest},
        )
    )


def tag_model(stored: Path) -> None:
    """Mark the run with the hash of the model it is about."""
    import mlflow

    mlflow.set_tags({f"{HASH_TAG}.model": file_md5(stored)})


def serving_requirements() -> list[str]:
    """The packages that serving needs, at the versions that trained the model."""
    pins = []
    for name in _SERVING_NEEDS:
        try:
            pins.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return pins


def file_md5(path: Path) -> str:
    """The MD5 of a file's bytes: the name under which DVC stores it. Not a safeguard."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def if_served(call: Callable[[], Any]) -> None:
    """Do what not every tracking server serves (GitLab's has neither datasets nor logged models).

    The hashes are tags of the run as well, so that nothing is lost to the record.
    """
    from mlflow.exceptions import MlflowException

    try:
        call()
    except MlflowException as error:
        if error.error_code not in _NOT_SERVED:
            raise
        print(f"note: the tracking server does not serve this: {error.message}")
