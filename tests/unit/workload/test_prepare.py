"""The joined table holds what is known before departure, and nothing else."""

import pandas as pd
import pytest

from workload import prepare, schemas
from workload.errors import DataInvalid


def test_the_table_keeps_the_schema_and_drops_flights_that_never_arrived(flights, weather, settings):
    table = prepare.flight_table(flights, weather, settings.prepare)
    schemas.validate(table, schemas.prepared(settings.features), "table")
    assert len(table) == 6
    assert 99 not in set(table["flight"])


def test_nothing_known_only_after_departure_is_left(flights, weather, settings):
    table = prepare.flight_table(flights, weather, settings.prepare)
    known = {*schemas.FLIGHT_KEY, "month", "late", *settings.features.categorical, *settings.features.numeric}
    assert set(table.columns) == known
    assert not known & {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"}


def test_late_means_more_than_the_limit(flights, weather, settings):
    flights.loc[0, "arr_delay"] = 15.0
    flights.loc[2, "arr_delay"] = 15.5
    table = prepare.flight_table(flights, weather, settings.prepare).set_index(["month", "flight"])
    assert table.loc[(1, 10), "late"] == 0
    assert table.loc[(2, 10), "late"] == 1


def test_an_hour_without_weather_stays_empty(flights, weather, settings):
    table = prepare.flight_table(flights, weather, settings.prepare)
    assert table[table["month"] == 1]["temp"].eq(1.5).all()
    assert table[table["month"] == 9]["temp"].isna().all()


def test_clock_times_become_minutes():
    assert prepare.minutes(pd.Series([5, 1315, 2400])).tolist() == [5.0, 795.0, 1440.0]


def test_the_order_of_the_source_does_not_matter(flights, weather, settings):
    shuffled = flights.sample(frac=1, random_state=3)
    one = prepare.flight_table(flights, weather, settings.prepare)
    assert prepare.flight_table(shuffled, weather, settings.prepare).equals(one)


def test_months_are_divided_and_an_empty_one_is_named(flights, weather, settings):
    table = prepare.flight_table(flights, weather, settings.prepare)
    assert prepare.select_months(table, [9])["month"].tolist() == [9, 9]
    with pytest.raises(DataInvalid, match=r"flights.parquet: month 3 without a single row"):
        prepare.select_months(table, [1, 2, 3])


def test_a_missing_input_says_how_to_get_it(tmp_path):
    with pytest.raises(DataInvalid, match="dvc pull"):
        prepare.read(tmp_path / "train.parquet")
