"""Every way in which a frame can be wrong gets a message that names the culprit."""

import pandas as pd
import pytest

from workload import schemas
from workload.errors import DataInvalid


def refused(frame: pd.DataFrame, schema=schemas.FLIGHTS) -> str:
    with pytest.raises(DataInvalid) as caught:
        schemas.validate(frame, schema, "flights.csv")
    return str(caught.value)


def test_a_good_frame_passes_unchanged(flights):
    assert schemas.validate(flights, schemas.FLIGHTS, "x").equals(flights)


def test_a_missing_column_is_named(flights):
    assert refused(flights.drop(columns="carrier")) == "flights.csv: column 'carrier' is missing"


def test_a_wrong_type_names_column_and_both_types(flights):
    flights["distance"] = flights["distance"].astype("float64")
    assert refused(flights) == "flights.csv: column 'distance' is float64, not int64"


def test_a_duplicate_key_is_named_with_its_values(flights):
    message = refused(pd.concat([flights, flights.tail(1)], ignore_index=True))
    assert "the key (time_hour, carrier, flight, origin) occurs twice in 1 rows" in message
    assert "flight=99" in message


def test_a_value_out_of_range_is_shown(flights):
    flights.loc[2, "distance"] = 0
    assert refused(flights) == (
        "flights.csv: column 'distance' must be more than 0: 1 values are not, such as 0"
    )


def test_empty_values_are_counted(flights):
    flights.loc[[0, 1], "carrier"] = None
    assert "column 'carrier' has 2 empty values" in refused(flights)


def test_all_mistakes_are_reported_together(flights):
    flights["month"] = flights["month"].astype("str")
    message = refused(flights.drop(columns=["dest"]))
    assert "column 'dest' is missing" in message
    assert "column 'month' is str, not int64" in message


def test_a_month_without_rows_is_named(flights):
    with pytest.raises(DataInvalid, match=r"^flights: months 3, 4 without a single row$"):
        schemas.require_months(flights, [1, 2, 3, 4], "flights")


def test_a_prepared_frame_needs_its_features(settings):
    message = refused(pd.DataFrame({"month": [1]}), schemas.prepared(settings.features))
    assert "column 'dest' is missing" in message
    assert "column 'late' is missing" in message
