"""IDs in another session of the same store."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Start

LONG = "a line of a large file\n" * 20_000
SHORT = "a line of a small file\n"


def made(text: str) -> str:
    return '{directory{withNewFile(path:"f",contents:%s){id}}}' % json.dumps(text)


def index_of(store: Path) -> Path:
    return next(path for path in (store / "single" / "index.db", store / "index.db") if path.exists())


@pytest.mark.parametrize("text", [SHORT, LONG], ids=["short", "long"])
def test_a_value_is_made_again_in_another_session(start: Start, text: str) -> None:
    identifier = start()(made(text))
    query = '{node(id:"%s"){... on Directory{file(path:"f"){contents}}}}' % identifier
    assert start()(query) == text


def test_long_texts_are_not_in_the_index(start: Start, tmp_path: Path) -> None:
    one = start(store=tmp_path)
    first, second = one(made(LONG)), one(made(LONG + "other"))
    assert first != second
    db = sqlite3.connect(index_of(tmp_path))
    sizes = [size for (size,) in db.execute("SELECT length(document) FROM documents")]
    db.close()
    assert sizes
    assert max(sizes) < 4096


def test_an_id_whose_text_was_collected_says_so(start: Start, tmp_path: Path) -> None:
    identifier = start(store=tmp_path)(made(LONG))
    home = index_of(tmp_path).parent
    db = sqlite3.connect(home / "index.db")
    db.execute("DELETE FROM objects WHERE kind = 'blob'")
    db.commit()
    db.close()
    query = '{node(id:"%s"){... on Directory{entries}}}' % identifier
    assert "not in this store (any more)" in start(store=tmp_path).error(query)["message"]
