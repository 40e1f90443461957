"""What each data frame must hold, checked at the door of every stage.

The rules are pandera schemas. Its errors are tables for programmers; here they
become one sentence for each mistake that names the column, the type, the month
or the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandera.pandas as pa

from workload.errors import DataInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

    from workload.params import Features

FLIGHT_KEY = ("time_hour", "carrier", "flight", "origin")
WEATHER_KEY = ("origin", "time_hour")
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
TARGET = "late"
_MOST_EXAMPLES = 3


def _between(low: float, high: float) -> pa.Check:
    return pa.Check.between(low, high, error=f"between {low} and {high}")


FLIGHTS = pa.DataFrameSchema(
    {
        "year": pa.Column("int64"),
        "month": pa.Column("int64", _between(1, 12)),
        "day": pa.Column("int64", _between(1, 31)),
        "sched_dep_time": pa.Column("int64", _between(0, 2400)),
        "sched_arr_time": pa.Column("int64", _between(0, 2400)),
        "arr_delay": pa.Column("float64", nullable=True),
        "carrier": pa.Column("str"),
        "flight": pa.Column("int64"),
        "origin": pa.Column("str"),
        "dest": pa.Column("str"),
        "distance": pa.Column("int64", pa.Check.gt(0, error="more than 0")),
        "time_hour": pa.Column("str"),
    },
    unique=list(FLIGHT_KEY),
    name="flights",
)
"""The source's flights: one row for each scheduled departure."""

HOURLY_WEATHER = pa.DataFrameSchema(
    {
        "origin": pa.Column("str"),
        "time_hour": pa.Column("str"),
        **{name: pa.Column("float64", nullable=True) for name in WEATHER},
    },
    unique=list(WEATHER_KEY),
    name="weather",
)
"""The source's weather: one row for each airport and hour."""


def prepared(features: Features) -> pa.DataFrameSchema:
    """The schema of a prepared frame with these features: the key, the label, complete categories."""
    return pa.DataFrameSchema(
        {
            "month": pa.Column("int64", _between(1, 12)),
            **{name: pa.Column("str") for name in dict.fromkeys(("time_hour", "carrier", "origin"))},
            "flight": pa.Column("int64"),
            **{name: pa.Column("str") for name in features.categorical},
            **{name: pa.Column("float64", nullable=True) for name in features.numeric},
            TARGET: pa.Column("int64", pa.Check.isin([0, 1], error="0 or 1")),
        },
        unique=list(FLIGHT_KEY),
        name="prepared flights",
    )


def validate(frame: pd.DataFrame, schema: pa.DataFrameSchema, source: str) -> pd.DataFrame:
    """The frame itself, when it keeps the schema; else :class:`DataInvalid` with every mistake named."""
    try:
        return schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise DataInvalid(f"{source}: " + "; ".join(_sentences(frame, schema, error))) from None


def require_months(frame: pd.DataFrame, months: Iterable[int], source: str) -> None:
    """Raise :class:`DataInvalid` naming the months of which the frame has no row."""
    present = set(frame["month"].unique().tolist())
    missing = [str(month) for month in months if month not in present]
    if missing:
        noun = "month" if len(missing) == 1 else "months"
        raise DataInvalid(f"{source}: {noun} {', '.join(missing)} without a single row")


def _sentences(frame: pd.DataFrame, schema: pa.DataFrameSchema, error: Any) -> list[str]:
    cases = error.failure_cases
    said: dict[str, None] = {}
    for (column, check), group in cases.groupby(["column", "check"], dropna=False, sort=False):
        failures = group["failure_case"].tolist()
        if check == "column_in_dataframe":
            said |= dict.fromkeys(f"column {name!r} is missing" for name in failures)
        else:
            said[_sentence(frame, schema, str(column), str(check), failures)] = None
    return list(said)


def _sentence(
    frame: pd.DataFrame, schema: pa.DataFrameSchema, column: str, check: str, failures: Sequence[Any]
) -> str:
    if check.startswith("dtype("):
        wanted = schema.columns[column].dtype
        return f"column {column!r} is {frame[column].dtype}, not {wanted}"
    if check == "not_nullable":
        return f"column {column!r} has {int(frame[column].isna().sum())} empty values"
    if check == "multiple_fields_uniqueness":
        key = list(schema.unique or ())
        doubled = frame[frame.duplicated(key)]
        first = ", ".join(f"{name}={value}" for name, value in doubled[key].iloc[0].items())
        return f"the key ({', '.join(key)}) occurs twice in {len(doubled)} rows, first {first}"
    examples = ", ".join(repr(value) for value in dict.fromkeys(failures[:_MOST_EXAMPLES]))
    return f"column {column!r} must be {check}: {len(failures)} values are not, such as {examples}"
