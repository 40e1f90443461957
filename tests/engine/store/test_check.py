"""Damage in the store: found by a check, forgotten with all that may depend on it, and made again."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from rondel.engine.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.conftest import Start

GOOD = '{directory{withNewFile(path:"f",contents:"GOOD"){file(path:"f"){contents}}}}'
COPIED = '{directory{withFile(path:"g",source:"%s"){file(path:"g"){contents}}}}'
RUN = (
    '{container{from(address:"host"){withExec(args:["sh","-c","echo GOOD > /f"]){'
    'withExec(args:["cat","/f"]){stdout}}}}}'
)

WRITTEN = RUN.replace('withExec(args:["cat","/f"]){stdout}', 'file(path:"/f"){contents}')


def file_of(store: Path) -> Path:
    """The layer's file that holds the text."""
    (found,) = {path for path in store.rglob("f") if path.is_file() and path.parent.parent.name == "l"}
    return found


def overwrite(file: Path) -> None:
    file.write_text("EVIL")


def overwrite_with_its_time(file: Path) -> None:
    times = file.stat()
    file.write_text("EVIL")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def check(store: Path, *, deep: bool = False) -> list[str]:
    opened = Store.open(store)
    try:
        return list(opened.check(deep=deep).damaged)
    finally:
        opened.close(sync=False)


@pytest.mark.parametrize(
    "damage", [overwrite, lambda file: file.unlink(), lambda file: file.chmod(0o4755), lambda file: shutil.rmtree(file.parent)]
)  # fmt: skip
@pytest.mark.parametrize("query", [GOOD, RUN])
def test_what_is_damaged_is_made_again(
    start: Start, tmp_path: Path, damage: Callable[[Path], None], query: str
) -> None:
    first = start(store=tmp_path)
    made = first(query)
    first.session.close()
    assert not check(tmp_path)
    damage(file_of(tmp_path))
    (found,) = check(tmp_path)
    assert found.startswith("layer ")
    assert not check(tmp_path)
    assert start(store=tmp_path)(query) == made


def test_contents_are_compared_once_a_deep_check_has_recorded_them(start: Start, tmp_path: Path) -> None:
    first = start(store=tmp_path)
    assert first(GOOD) == "GOOD"
    first.session.close()
    assert not check(tmp_path, deep=True)
    overwrite_with_its_time(file_of(tmp_path))
    assert not check(tmp_path)
    (found,) = check(tmp_path, deep=True)
    assert "contents" in found
    assert start(store=tmp_path)(GOOD) == "GOOD"


def test_what_was_made_from_damage_is_forgotten_too(start: Start, tmp_path: Path) -> None:
    first = start(store=tmp_path)
    source = first('{directory{withNewFile(path:"f",contents:"GOOD"){file(path:"f"){id contents}}}}')["id"]
    overwrite(file_of(tmp_path))
    assert first(COPIED % source) == "EVIL"
    first.session.close()
    assert check(tmp_path)
    assert start(store=tmp_path)(COPIED % source) == "GOOD"


@pytest.mark.parametrize("query", [GOOD, WRITTEN])
def test_a_layer_that_is_gone_is_made_again_by_the_session_that_made_it(
    start: Start, tmp_path: Path, query: str
) -> None:
    session = start(store=tmp_path)
    made = session(query)
    shutil.rmtree(file_of(tmp_path).parent)
    assert session(query) == made
    assert start(store=tmp_path)(query) == made


def test_damaged_blobs_are_removed(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    root = store.root
    changed, shorter, gone = (store.blobs.put(data) for data in (b"changed", b"shorter", b"gone"))
    store.blobs.path(changed).write_bytes(b"CHANGED")
    store.blobs.path(shorter).write_bytes(b"s")
    store.blobs.path(gone).unlink()
    store.close(sync=False)
    assert {line.partition(": ")[2] for line in check(tmp_path)} == {"its size is wrong", "it is missing"}
    assert check(tmp_path, deep=True) == [f"blob {changed}: its content does not match its digest"]
    assert not [path for path in (root / "b").rglob("*") if path.is_file()]
