"""Addresses in a stage's log that only its container can open."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rondel.environment.log_addresses import log_rewrites
from rondel.record import StageRecord, StageRecorder
from rondel.runner.services import _readable
from rondel.settings import Settings
from rondel.testing import RecordingObserver
from rondel.tracking.endpoint import Endpoint, connection_to
from rondel.tracking.session import TrackingSession

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RUN = "0" * 32
PAGE = f"#/experiments/1/runs/{RUN}"


def said(
    text: str,
    uri: str,
    *,
    readable: bool = True,
    hosts: Mapping[str, int] | None = None,
    folder: str | None = None,
) -> str:
    rewrites = replace(connection_to(Endpoint(uri=uri), experiment="e"), readable=readable)
    observer = RecordingObserver()
    recorder = StageRecorder(StageRecord(name="train", kind="pure"), None, observer)
    recorder.rewrite(log_rewrites(rewrites, hosts or {}, folder))
    recorder.output(text)
    return recorder.tail[-1]


def test_a_link_of_mlflows_client_works_on_this_machine() -> None:
    line = f"🏃 View run train at: http://mlflow:5000/{PAGE}"
    assert said(line, "http://127.0.0.1:5000") == f"🏃 View run train at: http://127.0.0.1:5000/{PAGE}"
    line = "🧪 View experiment at: http://mlflow:5000/ml/#/experiments/1"
    assert said(line, "http://localhost:5000/ml") == line.replace("mlflow:5000", "localhost:5000")


@pytest.mark.parametrize(
    "line",
    [
        "http://mlflow:50001/x",
        "the host mlflow:5000 of nobody",
        "https://mlflow.example.com/#/experiments/1",
        "http://mlflow:5000.example.com",
    ],
)
def test_other_addresses_stay(line: str) -> None:
    assert said(line, "http://127.0.0.1:5000") == line
    assert said(line, "http://127.0.0.1:5000", readable=False) == line


def test_the_address_of_a_remote_server_stays() -> None:
    line = f"View run at: https://mlflow.example.com/{PAGE}"
    assert said(line, "https://mlflow.example.com") == line


@pytest.mark.parametrize("address", ["http://mlflow:5000", "http://127.0.0.1:5000"])
def test_an_unreachable_server_is_described_without_an_address(address: str) -> None:
    told = said(f"🏃 View run train at: {address}/{PAGE}", "http://127.0.0.1:5000", readable=False)
    assert told == f"🏃 View run train at: run {RUN} on the MLflow server of this job"
    told = said(f"View experiment at: {address}/#/experiments/1.", "http://127.0.0.1:5000", readable=False)
    assert "://" not in told
    assert "the MLflow server of this job" in told
    assert (
        said(f"uri={address}", "http://127.0.0.1:5000", readable=False) == "uri=the MLflow server of this job"
    )


def test_the_remote_is_shown_as_its_folder_or_address() -> None:
    line = "ERROR: webdav://dvc-remote:4000/files/md5/ab: not rewrites"
    told = said(line, "http://127.0.0.1:5000", hosts={"dvc-remote": 4000}, folder="/p/.rondel/remote")
    assert told == "ERROR: /p/.rondel/remote/files/md5/ab: not rewrites"
    line = 'Could not connect to the endpoint URL: "http://dvc-remote-1:9000/bucket"'
    told = said(line, "http://127.0.0.1:5000", hosts={"dvc-remote": 80, "dvc-remote-1": 9000})
    assert told == line.replace("dvc-remote-1", "127.0.0.1")


@pytest.mark.parametrize(
    ("uri", "ci", "linger", "readable"),
    [
        (None, False, 600, True),
        (None, False, 0, False),
        (None, True, 600, False),
        ("http://127.0.0.1:5000", False, 0, True),
        ("http://127.0.0.1:5000", True, 600, False),
        ("https://mlflow.example.com", True, 0, True),
    ],
)
def test_pages_open_where_the_server_outlives_the_run_and_is_within_reach(
    tmp_path: Path, uri: str | None, *, ci: bool, linger: int, readable: bool
) -> None:
    remote = Endpoint(uri=uri) if uri else None
    session = TrackingSession(remote, None, experiment="e")
    rewrites = connection_to(remote or Endpoint(uri="http://127.0.0.1:5001"), experiment="e")
    assert _readable(session, rewrites, Settings(root=tmp_path, ci=ci, linger=linger)) is readable
