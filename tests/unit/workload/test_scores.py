"""Scores of hand-made predictions."""

import numpy as np
import pandas as pd
import pytest

from workload import scores

LATE = np.array([0, 0, 1, 1])
PROBABILITY = np.array([0.1, 0.4, 0.35, 0.8])


def test_the_textbook_example():
    found = scores.score(LATE, PROBABILITY, 0.4)
    assert found["roc_auc"] == 0.75
    assert found["accuracy"] == 0.5
    assert found["precision"] == 0.5
    assert found["late_share"] == 0.5
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean(), abs=1e-6)


def test_one_outcome_alone_has_no_ranking_but_a_loss():
    found = scores.score(np.zeros(2, int), np.array([0.1, 0.2]), 0.5)
    assert "roc_auc" not in found
    assert found["log_loss"] > 0


def test_slices_are_reported_for_each_origin():
    report = scores.report(LATE, PROBABILITY, pd.Series(["JFK", "EWR", "EWR", "JFK"]), 0.5)
    assert report["rows"] == 4
    assert list(report["slices"]["origin"]) == ["EWR", "JFK"]
    assert report["slices"]["origin"]["JFK"]["roc_auc"] == 1.0
    assert report["slices"]["origin"]["EWR"]["roc_auc"] == 0.0


def test_nested_metrics_get_dotted_names():
    assert scores.flat({"a": 1, "s": {"o": {"b": 2}}}) == {"a": 1, "s.o.b": 2}


def test_curves_keep_their_ends_and_stay_short():
    random = np.random.default_rng(1)
    late = random.integers(0, 2, 5000)
    curve = scores.roc_curve(late, random.random(5000))
    assert len(curve) == 200
    assert curve.iloc[0].tolist() == [0, 0]
    assert curve.iloc[-1].tolist() == [1, 1]


def test_calibration_bins_hold_equally_many():
    curve = scores.calibration_curve(np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.6, 0.8]), 2)
    assert curve.to_dict("list") == {"predicted": [0.2, 0.7], "observed": [0.0, 1.0], "rows": [2, 2]}


def test_confusion_counts_outcomes_by_row():
    assert scores.confusion(LATE, PROBABILITY, 0.4).tolist() == [[1, 1], [1, 1]]
