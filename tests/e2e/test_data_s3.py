"""An S3 remote for real: a moto server on this machine's loopback, credentials from the environment."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import boto3
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_data_stages import DVC, drive, make_project, md5, run

from rondel.registry.remote_data import missing_in_remote

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def s3():
    """The environment that leads to a bucket on a moto server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(urllib.request.Request(f"{url}/team-bucket", method="PUT")).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "moto did not start"
                assert server.poll() is None
                time.sleep(0.2)
        yield {
            "AWS_ACCESS_KEY_ID": "id-of-nobody",
            "AWS_SECRET_ACCESS_KEY": "secret-of-nobody",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
            "DVC_REMOTE_URL": "s3://team-bucket/dvc",
        }
    finally:
        server.terminate()
        server.wait()


def host_dvc(root: Path, s3: dict[str, str], *arguments: str) -> None:
    (root / ".dvc/config.local").write_text(f"['remote \"local\"']\n    url = {s3['DVC_REMOTE_URL']}\n")
    try:
        run(str(DVC), *arguments, cwd=root, **s3)
    finally:
        (root / ".dvc/config.local").unlink()


def test_inputs_are_pulled_from_s3_and_results_pushed_to_it(tmp_path, s3):
    root = make_project(tmp_path / "project")
    # Data that is nowhere but in the bucket: no cache volume has seen it.
    (root / "data/raw.txt").write_text(f"only in the bucket {time.time_ns()}")
    run(str(DVC), "add", "-q", "data/raw.txt", cwd=root)
    host_dvc(root, s3, "push", "-q")
    found, said = drive(root, ["prepare", "train"], env=s3, settings={"push": True})
    assert [each["state"] for each in found] == ["ran", "ran"], said
    assert s3["AWS_SECRET_ACCESS_KEY"] not in said
    assert not list(root.glob(".rondel/remote/files/md5/*/*.dir"))
    host_dvc(root, s3, "pull", "-q")
    assert (root / "model.bin").read_text() == "model 0.1"
    assert f"md5:{md5(root / 'model.bin')}" == found[1]["outputs"]["model.bin"]
    kept = [path for path in root.glob(".rondel/runs/**/*") if path.is_file()]
    assert kept
    for path in kept:
        assert s3["AWS_SECRET_ACCESS_KEY"].encode() not in path.read_bytes(), path


def test_wrong_credentials_are_a_data_error_before_anything_comes_back(tmp_path, s3):
    root = make_project(tmp_path / "project")
    (root / "data/raw.txt").write_text(f"nowhere {time.time_ns()}")
    run(str(DVC), "add", "-q", "data/raw.txt", cwd=root)
    _, said = drive(root, ["prepare"], env={**s3, "DVC_REMOTE_URL": "s3://no-such-bucket/dvc"}, code=23)
    assert "s3://no-such-bucket/dvc" in said
    assert not (root / "dvc.lock").exists()


def test_what_the_bucket_does_not_hold_is_named(tmp_path, s3, monkeypatch):
    root = make_project(tmp_path / "project")
    folder = root / "data" / "many"
    folder.mkdir()
    (folder / "one.txt").write_text("one")
    (folder / "two.txt").write_text("two")
    run(str(DVC), "add", "-q", "data/many", cwd=root)
    host_dvc(root, s3, "push", "-q")
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    manifest = re.search(r"md5: (\w+\.dir)", (root / "data/many.dvc").read_text())[1]
    wanted = {"data/many": f"md5:{manifest}", "data/lost.txt": "md5:" + "0" * 32}
    assert missing_in_remote(root, wanted, s3) == ["data/lost.txt"]
    part = md5(folder / "two.txt")
    bucket = boto3.client("s3", endpoint_url=s3["AWS_ENDPOINT_URL"])
    bucket.delete_object(Bucket="team-bucket", Key=f"dvc/files/md5/{part[:2]}/{part[2:]}")
    assert missing_in_remote(root, wanted, s3) == ["data/lost.txt", "data/many/two.txt"]


def test_in_a_bucket_that_is_not_there_everything_is_missing(tmp_path, s3, monkeypatch):
    root = make_project(tmp_path / "project")
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    elsewhere = {**s3, "DVC_REMOTE_URL": "s3://no-such-bucket/dvc"}
    assert missing_in_remote(root, {"a": "md5:" + "0" * 32}, elsewhere) == ["a"]
