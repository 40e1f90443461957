"""How long the model takes to answer, measured on this machine: ``python -m workload.latency``.

Prints one JSON object of milliseconds. It is no stage and no file: no two
measurements are the same, so they have no place in what DVC compares.
"""

from __future__ import annotations

import json
import time
from statistics import median
from typing import TYPE_CHECKING

from workload import errors, model, params, prepare

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

CALLS = 50
WARM_UP = 5
BATCH = 1000


def measure(fitted: Pipeline, frame: pd.DataFrame) -> dict[str, float]:
    """Medians of 50 calls with one row and of five with 1000, and the 95th percentile of the first."""
    rows = [frame.iloc[[number % len(frame)]] for number in range(CALLS)]
    batch = frame.iloc[[number % len(frame) for number in range(BATCH)]]
    for row in rows[:WARM_UP]:
        fitted.predict_proba(row)
    single = sorted(_milliseconds(fitted, row) for row in rows)
    many = [_milliseconds(fitted, batch) for _ in range(5)]
    return {
        "latency_ms": round(median(single), 3),
        "latency_p95_ms": round(single[int(0.95 * (len(single) - 1))], 3),
        "latency_batch_ms": round(median(many), 3),
    }


def _milliseconds(fitted: Pipeline, rows: pd.DataFrame) -> float:
    began = time.perf_counter()
    fitted.predict_proba(rows)
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Measure the stored model on flights of the evaluation month."""
    features = params.load().features
    columns = [*features.categorical, *features.numeric]
    print(json.dumps(measure(model.load(), prepare.read(prepare.TEST)[columns])))


if __name__ == "__main__":
    errors.run(main)
