"""Numbers that say how good probabilities are: for all flights and for each origin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics

_DIGITS = 6
_CURVE_POINTS = 200

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]


def score(late: Labels, probability: Numbers, threshold: float) -> dict[str, float]:
    """The metrics of one group of flights; ranking metrics only where both outcomes occur.

    ``threshold`` is the probability from which on a flight is called late.
    """
    called = (probability >= threshold).astype("int64")
    found: dict[str, float] = {}
    if len(np.unique(late)) == 2:
        found |= {
            "roc_auc": metrics.roc_auc_score(late, probability),
            "average_precision": metrics.average_precision_score(late, probability),
        }
    found |= {
        "log_loss": metrics.log_loss(late, probability, labels=[0, 1]),
        "brier": metrics.brier_score_loss(late, probability),
        "accuracy": metrics.accuracy_score(late, called),
        "precision": metrics.precision_score(late, called, zero_division=0),
        "recall": metrics.recall_score(late, called, zero_division=0),
        "f1": metrics.f1_score(late, called, zero_division=0),
        "late_share": late.mean(),
        "rows": len(late),
    }
    return {name: value if name == "rows" else round(float(value), _DIGITS) for name, value in found.items()}


def report(late: Labels, probability: Numbers, origin: pd.Series, threshold: float) -> dict[str, Any]:
    """The metrics of all flights, and under ``slices`` those of each airport of origin."""
    slices = {}
    for name in sorted(origin.unique()):
        here = (origin == name).to_numpy()
        slices[str(name)] = score(late[here], probability[here], threshold)
    return {**score(late, probability, threshold), "slices": {"origin": slices}}


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested metrics under dotted names, as MLflow takes them (``slices.origin.JFK.roc_auc``)."""
    found: dict[str, float] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def roc_curve(late: Labels, probability: Numbers) -> pd.DataFrame:
    """False and true positive rate for falling thresholds, thinned to 200 points."""
    false_positive, true_positive, _ = metrics.roc_curve(late, probability)
    return _thinned(
        pd.DataFrame({"false_positive_rate": false_positive, "true_positive_rate": true_positive})
    )


def precision_recall_curve(late: Labels, probability: Numbers) -> pd.DataFrame:
    """Recall and precision for rising thresholds, thinned to 200 points."""
    precision, recall, _ = metrics.precision_recall_curve(late, probability)
    return _thinned(pd.DataFrame({"recall": recall, "precision": precision}))


def calibration_curve(late: Labels, probability: Numbers, bins: int) -> pd.DataFrame:
    """Mean predicted probability against the share that was late, in bins of equal size."""
    rank = np.argsort(np.argsort(probability, kind="stable"), kind="stable")
    frame = pd.DataFrame({"bin": rank * bins // len(rank), "predicted": probability, "observed": late})
    means = frame.groupby("bin")[["predicted", "observed"]].mean()
    means["rows"] = frame.groupby("bin").size()
    return means.reset_index(drop=True).round(_DIGITS)


def confusion(late: Labels, probability: Numbers, threshold: float) -> NDArray[np.int64]:
    """Counts, true outcome by row (on time, late), called outcome by column."""
    called = (probability >= threshold).astype("int64")
    counts: NDArray[np.int64] = metrics.confusion_matrix(late, called, labels=[0, 1])
    return counts


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    chosen = np.unique(np.linspace(0, len(curve) - 1, _CURVE_POINTS).round().astype(int))
    return curve.iloc[chosen].reset_index(drop=True).round(_DIGITS)
