"""The standard measures of a classifier, taken by MLflow's own evaluation.

MLflow calls a model as it would be served and logs its tables and pictures
with the run. It calls classes, not probabilities, so the model is handed over
with the threshold on top: what it counts is what the stage reports.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier

from workload import tracking
from workload.schemas import TARGET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from sklearn.pipeline import Pipeline

_DIGITS = 6
NAMES = {
    "roc_auc": "roc_auc",
    "precision_recall_auc": "average_precision",
    "log_loss": "log_loss",
    "accuracy_score": "accuracy",
    "precision_score": "precision",
    "recall_score": "recall",
    "f1_score": "f1",
}
"""MLflow's names of measures and ours."""


def evaluate(
    model: Pipeline, frame: pd.DataFrame, columns: Sequence[str], threshold: float
) -> dict[str, float]:
    """MLflow's measures of ``model`` on ``frame`` under our names, rounded; logged to the active run.

    Nothing where the tracking server does not serve what MLflow logs on the way.
    """
    late = frame[TARGET]
    called = FixedThresholdClassifier(FrozenEstimator(model), threshold=threshold).fit(frame[columns], late)
    found: dict[str, float] = {}
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder, "model"))
        # Read back by this very process: a pickle is as safe as what it was made from.
        mlflow.sklearn.save_model(
            called, place, serialization_format="cloudpickle", pip_requirements=["scikit-learn"]
        )
        tracking.if_served(lambda: found.update(_evaluated(place, frame[[*columns, TARGET]])))
    return {ours: round(float(found[theirs]), _DIGITS) for theirs, ours in NAMES.items() if theirs in found}


def _evaluated(place: str, frame: pd.DataFrame) -> dict[str, float]:
    # Explaining predictions takes minutes and another package.
    config = {"log_explainer": False, "log_model_explainability": False}
    result = mlflow.models.evaluate(  # type: ignore[no-untyped-call]
        place, frame, targets=TARGET, model_type="classifier", evaluator_config=config
    )
    return dict(result.metrics)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's remarks on what is meant here: the pickle, whole numbers as labels."""
    loggers = [logging.getLogger(name) for name in ("mlflow.sklearn", "mlflow.models.evaluation", "mlflow")]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="mlflow")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
