"""Small frames in the shape of the source's tables."""

from pathlib import Path

import pandas as pd
import pytest

from workload import params

TOP = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def settings() -> params.Params:
    """The project's own parameters."""
    return params.load(TOP / "params.yaml")


@pytest.fixture
def flights() -> pd.DataFrame:
    """Two flights in each of three months, one of each pair late; one more was cancelled."""
    rows = [
        {
            "year": 2013, "month": month, "day": 5, "sched_dep_time": 1315 + 100 * late,
            "sched_arr_time": 1550, "arr_delay": 40.0 if late else -3.0, "carrier": "UA",
            "flight": 10 + late, "origin": "JFK", "dest": "SFO", "distance": 2586,
            "time_hour": f"2013-{month:02d}-05T{18 + late}:00:00Z",
        }
        for month in (1, 2, 9) for late in (0, 1)
    ]  # fmt: skip
    rows.append({**rows[0], "flight": 99, "arr_delay": None})
    return pd.DataFrame(rows)


@pytest.fixture
def weather(flights: pd.DataFrame) -> pd.DataFrame:
    """Weather for every hour in which a flight of January leaves, and for none of the others."""
    hours = flights[flights["month"] == 1]["time_hour"].unique()
    names = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
    rows = [{"origin": "JFK", "time_hour": hour, **dict.fromkeys(names, 1.5)} for hour in hours]
    return pd.DataFrame(rows)
