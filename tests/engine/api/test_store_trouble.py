"""A store in trouble, as a client sees it: a clear error, no hang, and what was good stays good."""

from __future__ import annotations

import ctypes
import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from rondel.engine import namespace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.conftest import Start

GOOD = '{directory{withNewFile(path:"f",contents:"good"){file(path:"f"){contents}}}}'
READ_ONLY, REMOUNT = 1, 32


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    namespace.become_root()
    folder = tmp_path / "disk"
    folder.mkdir()
    namespace.mount_tmpfs(folder, size=4 * 1024 * 1024)
    yield folder
    for _ in range(100):  # the engine may take a moment to let go of it
        try:
            namespace.unmount(folder)
        except OSError:
            time.sleep(0.1)
        else:
            return


def home_in(folder: Path) -> Path:
    return next(path.parent for path in folder.rglob("index.db"))


def test_a_full_disk_is_an_error_with_the_way_out(start: Start, disk: Path) -> None:
    query = start(store=disk / "s")
    assert query(GOOD) == "good"
    large = json.dumps("x" * (6 << 20))
    error = query.error('{directory{withNewFile(path:"f",contents:%s){sync}}}' % large)
    assert "no space left for the engine's store" in error["message"]
    assert "rondel engine prune" in error["message"]
    assert "xxxx" not in error["message"]
    assert query(GOOD) == "good"
    small = '{directory{withNewFile(path:"g",contents:"small"){file(path:"g"){contents}}}}'
    assert query(small) == "small"


def test_a_store_that_cannot_be_written_is_told_to_the_client(start: Start, disk: Path) -> None:
    first = start(store=disk / "s")
    assert first(GOOD) == "good"
    first.session.close()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(None, os.fsencode(disk), None, ctypes.c_ulong(REMOUNT | READ_ONLY), None) == 0
    error = start(store=disk / "s").error(GOOD)
    assert "cannot be written" in error["message"]
    assert "RONDEL_ENGINE_HOME" in error["message"]


def test_a_store_of_a_newer_version_is_left_alone(start: Start, tmp_path: Path) -> None:
    first = start(store=tmp_path)
    assert first(GOOD) == "good"
    first.session.close()
    path = home_in(tmp_path) / "format"
    path.write_text('{"version": 99}')
    error = start(store=tmp_path).error(GOOD)
    assert "newer version" in error["message"]
    assert "update rondel" in error["message"]
    assert path.read_text() == '{"version": 99}'


def test_a_damaged_index_is_named_with_what_to_do(start: Start, tmp_path: Path) -> None:
    first = start(store=tmp_path)
    assert first(GOOD) == "good"
    first.session.close()
    index = home_in(tmp_path) / "index.db"
    index.write_bytes(b"not a database, but long enough to look at: " * 200)
    error = start(store=tmp_path).error(GOOD)
    assert "damaged" in error["message"]
    assert "remove" in error["message"]


def test_a_layer_that_is_gone_is_made_again(start: Start, tmp_path: Path) -> None:
    first = start(store=tmp_path)
    assert first(GOOD) == "good"
    first.session.close()
    home = home_in(tmp_path)
    for layer in (home / "l").iterdir():
        for path in layer.rglob("f"):
            path.unlink()
    again = start(store=tmp_path).raw(GOOD)
    # A layer's content is not read again to check it; a missing file is an error, never a wrong text.
    assert "errors" in again or again["data"]["directory"]["withNewFile"]["file"]["contents"] == "good"


def test_a_damaged_blob_is_never_handed_out(start: Start, tmp_path: Path) -> None:
    script = "seq 400000"  # more than is kept beside the result: it becomes a blob
    command = '{container{from(address:"host"){withExec(args:["sh","-c","%s"]){stdout}}}}' % script
    first = start(store=tmp_path)
    whole = first(command)
    assert whole.endswith("\n400000\n")
    first.session.close()
    blobs = [
        path
        for path in (home_in(tmp_path) / "b").rglob("*")
        if path.is_file() and path.stat().st_size > 1 << 20
    ]
    assert blobs
    for path in blobs:
        path.chmod(0o600)
        path.write_bytes(b"0" * path.stat().st_size)
    second = start(store=tmp_path)
    answer = second.raw(command)
    if "errors" in answer:
        assert "damaged" in answer["errors"][0]["message"]
        assert "run again" in answer["errors"][0]["message"]
        second.session.close()
        second = start(store=tmp_path)
    assert second(command) == whole


def test_a_path_that_no_file_system_takes_is_no_defect_of_the_engine(start: Start, tmp_path: Path) -> None:
    query = start(store=tmp_path)
    path = "/".join(["n" * 200] * 30)
    error = query.error('{directory{withNewFile(path:"%s",contents:"x"){entries}}}' % path)
    assert error["message"] == "file name too long"
