"""Damage in the store: found by a check, forgotten with all that may depend on it, and made again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

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


def check(store: Path, *options: str) -> list[str]:
    """What the command removed; it enters the engine's namespace, so it needs a process of its own."""
    done = subprocess.run(
        [Path(sys.executable).with_name("rondel"), "engine", "check", *options],
        env=os.environ | {"RONDEL_ENGINE_HOME": str(store)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not done.stderr
    removed = [
        line.removeprefix("removed ") for line in done.stdout.splitlines() if line.startswith("removed ")
    ]
    assert done.returncode == bool(removed)
    return removed


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
    assert not check(tmp_path, "--deep")
    overwrite_with_its_time(file_of(tmp_path))
    assert not check(tmp_path)
    (found,) = check(tmp_path, "--deep")
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


def test_damaged_blobs_are_removed(start: Start, tmp_path: Path) -> None:
    first = start(store=tmp_path)
    for letter in "abc":  # a long argument is kept as a blob
        first('{directory{withNewFile(path:"f",contents:"%s"){id}}}' % (letter * 5000))
    first.session.close()
    changed, shorter, gone = blobs = [path for path in tmp_path.rglob("b/*/*") if path.is_file()]
    changed.write_bytes(b"x" * 5000)
    shorter.write_bytes(b"s")
    gone.unlink()
    assert {line.partition(": ")[2] for line in check(tmp_path)} == {"its size is wrong", "it is missing"}
    assert check(tmp_path, "--deep") == [f"blob sha256:{changed.name}: its content does not match its digest"]
    assert not [path for path in blobs if path.exists()]
