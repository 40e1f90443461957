"""Digests of images that two machines make of the same recipe."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Start

RECIPE = (
    '{container{withNewFile(path:"/app/main.py",contents:"print(1)"){withEnvVariable(name:"A",value:"b"){'
    'withEntrypoint(args:["python3"]){asTarball{digest}}}}}}'
)


def test_two_stores_make_one_digest_at_a_given_time(start: Start, tmp_path: Path) -> None:
    first = start(store=tmp_path / "one", SOURCE_DATE_EPOCH="1700000000")(RECIPE)
    time.sleep(1.1)  # times in an image are whole seconds
    assert start(store=tmp_path / "two", SOURCE_DATE_EPOCH="1700000000")(RECIPE) == first
