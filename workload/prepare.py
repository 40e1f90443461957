"""Stage ``prepare``: join weather to flights, label them, divide them by month."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from workload import errors, ingest, params, schemas

if TYPE_CHECKING:
    from collections.abc import Sequence

PREPARED = Path("data/prepared")
TRAIN = PREPARED / "train.parquet"
TEST = PREPARED / "test.parquet"
LATER = PREPARED / "later.parquet"


def minutes(clock: pd.Series) -> pd.Series:
    """Minutes after midnight of times written as HHMM; 2400 is the end of the day."""
    return (clock // 100 * 60 + clock % 100).astype("float64")


def flight_table(flights: pd.DataFrame, weather: pd.DataFrame, prepare: params.Prepare) -> pd.DataFrame:
    """One row for each flight that arrived: key, features, label.

    Cancelled and diverted flights have no arrival delay and are left out. The
    weather is that of the scheduled hour of departure at the origin; where the
    station missed an hour its values stay empty.
    """
    arrived = flights.dropna(subset=["arr_delay"])
    table = arrived.merge(weather, on=list(schemas.WEATHER_KEY), how="left", validate="many_to_one")
    table["departure_minute"] = minutes(table["sched_dep_time"])
    table["arrival_minute"] = minutes(table["sched_arr_time"])
    table["weekday"] = pd.to_datetime(table[["year", "month", "day"]]).dt.weekday.astype("float64")
    table["distance"] = table["distance"].astype("float64")
    table[schemas.TARGET] = (table["arr_delay"] > prepare.late_after_minutes).astype("int64")
    known_later = ["arr_delay", "sched_dep_time", "sched_arr_time", "year", "day"]
    return table.drop(columns=known_later).sort_values(list(schemas.FLIGHT_KEY), ignore_index=True)


def select_months(table: pd.DataFrame, months: Sequence[int]) -> pd.DataFrame:
    """The rows of these months; raises ``DataInvalid`` naming a month that has none."""
    chosen = table[table["month"].isin(months)].reset_index(drop=True)
    schemas.require_months(chosen, months, str(ingest.FLIGHTS))
    return chosen


def main() -> None:
    """Write the frames for training, evaluation and monitoring as Parquet."""
    settings = params.load()
    flights = schemas.validate(read(ingest.FLIGHTS), schemas.FLIGHTS, str(ingest.FLIGHTS))
    weather = schemas.validate(read(ingest.WEATHER), schemas.HOURLY_WEATHER, str(ingest.WEATHER))
    table = flight_table(flights, weather, settings.prepare)
    schemas.validate(table, schemas.prepared(settings.features), "the joined table")
    PREPARED.mkdir(parents=True, exist_ok=True)
    parts = {
        TRAIN: settings.prepare.train_months,
        TEST: settings.prepare.test_months,
        LATER: settings.prepare.later_months,
    }
    for path, months in parts.items():
        part = select_months(table, months)
        part.to_parquet(path, index=False)
        share = part[schemas.TARGET].mean() if len(part) else 0.0
        print(f"{path}: {len(part):,} flights, {share:.1%} late")


def read(path: Path) -> pd.DataFrame:
    """A Parquet table that an earlier stage wrote; raises ``DataInvalid`` when it is not there."""
    if not path.is_file():
        raise errors.DataInvalid(f"{path} is missing: `dvc pull {path}` brings it, `dvc repro` makes it")
    return pd.read_parquet(path)


if __name__ == "__main__":
    errors.run(main)
