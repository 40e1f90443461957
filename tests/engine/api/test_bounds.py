"""What one request may cost: others are answered meanwhile, and no request ends in a traceback."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.conftest import Queries, Start

MANY_RESULTS = (
    '{directory{withNewFile(path:"f",contents:%s){search(pattern:"x"){filePath submatches{start}}}}}'
    % json.dumps("x\n" * 20_000)
)
MANY_FIELDS = "{%s}" % " ".join(f"a{n}:version" for n in range(9_900))
MANY_TOKENS = "{%s}" % ("version " * 300_000)


@pytest.mark.parametrize("large", [MANY_RESULTS, MANY_FIELDS, MANY_TOKENS])
def test_a_small_request_is_answered_while_a_large_one_runs(query: Queries, large: str) -> None:
    query.raw(large)  # what it makes is known from now on: only its many fields are left
    answers: list[dict[str, Any]] = []
    running = threading.Thread(target=lambda: answers.append(query.raw(large)))
    running.start()
    before = 0
    while running.is_alive():
        query("{defaultPlatform}")
        before += 1
    running.join()
    assert answers
    assert before > 3, "the small requests waited for the large one"


@pytest.fixture
def odd(start: Start, tmp_path: Path) -> Callable[[str], Any]:
    """A directory with a file whose name is not UTF-8."""
    workdir = tmp_path / "work"
    workdir.mkdir()
    (workdir / os.fsdecode(b"odd\xff.txt")).write_text("text\n")
    return start(workdir=workdir)


@pytest.mark.parametrize(
    ("field", "answer"),
    [
        ("entries", ["odd\ufffd.txt"]),
        ('glob(pattern:"*.txt")', ["odd\ufffd.txt"]),
        ('glob(pattern:"odd?.txt")', ["odd\ufffd.txt"]),
        ('search(pattern:"te",globs:["*.txt"],skipIgnored:true){filePath}', "odd\ufffd.txt"),
        ('filter(include:["odd*"]){entries}', ["odd\ufffd.txt"]),
        ('filter(exclude:["o*"],gitignore:true){entries}', []),
        ('withNewFile(path:".gitignore",contents:"odd*\\n[z-a]\\n"){filter(gitignore:true){entries}}', [".gitignore"]),
    ],
)  # fmt: skip
def test_a_name_that_is_not_utf8_is_shown(odd: Callable[[str], Any], field: str, answer: Any) -> None:
    found = odd('{host{directory(path:"."){%s}}}' % field)
    assert (found[0]["filePath"] if found and isinstance(found[0], dict) else found) == answer


def test_changes_of_a_name_that_is_not_utf8_are_shown(odd: Callable[[str], Any]) -> None:
    here = odd('{host{directory(path:"."){id}}}')
    empty = odd("{directory{id}}")
    assert odd('{directory{diff(other:"%s"){entries}}}' % here) == ["odd\ufffd.txt"]
    added = odd(
        '{host{directory(path:"."){changes(from:"%s"){addedPaths diffStats{path} asPatch{contents}}}}}'
        % empty
    )
    assert added["addedPaths"] == ["odd\ufffd.txt"]
    assert added["diffStats"] == [{"path": "odd\ufffd.txt"}]
    assert "+text" in added["asPatch"]["contents"]
    removed = odd('{directory{changes(from:"%s"){removedPaths layer{entries}}}}' % here)
    assert removed["removedPaths"] == ["odd\ufffd.txt"]
    merged = odd('{directory{withChanges(changes:"%s"){entries}}}' % odd(
        '{host{directory(path:"."){changes(from:"%s"){id}}}}' % empty
    ))  # fmt: skip
    assert merged == ["odd\ufffd.txt"]
