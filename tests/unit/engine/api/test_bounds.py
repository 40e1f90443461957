"""Small requests that would be much work: each is answered or refused at once."""

from __future__ import annotations

import io
import signal
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from rondel.engine.api.document import parse
from rondel.engine.api.execution import execute
from rondel.engine.api.matching import Matcher
from rondel.engine.api.schema import load
from rondel.engine.api.searching import _Globs
from rondel.engine.api.validation import validate
from rondel.engine.evaluate.filters import Filter
from rondel.errors import EngineError
from rondel.files.patterns import Patterns, compile_glob

if TYPE_CHECKING:
    from collections.abc import Iterator

STARS = "*a" * 30 + "b"
NAME = "a" * 200


@pytest.fixture(autouse=True)
def _end() -> Iterator[None]:
    """End what would take hours; no other test can."""

    def give_up(*_: object) -> None:
        raise TimeoutError("this takes more than 20 seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*c$", "(a|aa)+$", "(.*a){20}$"])
def test_a_search_takes_linear_time(pattern: str) -> None:
    for options in ({}, {"multiline": True, "dotall": True}):
        matcher = Matcher({"pattern": pattern, **options})
        assert not list(matcher.results("f", io.BytesIO(b"a" * 10_000 + b"b")))


def test_patterns_of_paths_take_linear_time() -> None:
    assert not compile_glob(STARS)(NAME)
    assert not Patterns.of([STARS]).matches(NAME)
    assert not Patterns.of(["**/a/" * 30 + "b"]).matches("a/" * 100)
    globs = _Globs([STARS])
    assert not globs.keep(NAME)
    ignoring = Filter(gitignore=True)
    assert ignoring.judge(ignoring.with_ignore_file(ignoring.root(), STARS), NAME, is_dir=False).keep


def test_a_bad_line_of_a_gitignore_matches_nothing() -> None:
    ignoring = Filter(gitignore=True)
    state = ignoring.with_ignore_file(ignoring.root(), "[z-a]\n*.log\nx\\\n")
    kept = {name: ignoring.judge(state, name, is_dir=False).keep for name in ("x", "y.log")}
    assert kept == {"x": True, "y.log": False}


def test_a_bad_glob_is_refused() -> None:
    with pytest.raises(EngineError, match="syntax error in pattern"):
        _Globs(["[z-a]"])


def test_braces_that_stand_for_too_many_globs_are_refused() -> None:
    with pytest.raises(EngineError, match="more than 1000 globs"):
        _Globs(["{a,b}" * 40])
    assert _Globs(["x.{a,b}{c,d}"]).keep("x.bc")


def doubling(times: int) -> str:
    parts = (f"fragment f{n} on Query{{...f{n + 1} ...f{n + 1}}}" for n in range(times))
    return f"{{...f0}} {' '.join(parts)} fragment f{times} on Query{{version}}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (doubling(40), "more than 10000 fields, counted wherever a fragment is spread"),
        (doubling(14), "more than 10000 fields, counted wherever a fragment is spread"),
        ("{" + "version " * 10_001 + "}", "more than 10000 fields, counted wherever a fragment is spread"),
        (doubling(1) + "".join(f" query q{n}{{version}}" for n in range(100)), "more than 100 operations"),
    ],
)
def test_a_request_of_too_many_fields_is_refused(text: str, message: str) -> None:
    (invalid,) = validate(load(), parse(text))
    assert message in invalid.message


def test_fragments_may_be_spread_often() -> None:
    assert not validate(load(), parse(doubling(10)))


def test_long_unknown_names_are_refused() -> None:
    found = validate(load(), parse("{" + " ".join("x" * 20_000 + str(n) for n in range(20)) + "}"))
    assert len(found) == 20


def test_a_block_string_of_blank_lines_is_empty() -> None:
    (operation,) = parse('{file(name:"f",contents:"""' + "\n" * 500_000 + '""")}').operations
    assert operation.selections[0].arguments["contents"] == ""  # type: ignore[union-attr]


class NoCalls:
    """Stands for the session's calls, of which introspection needs the schema only."""

    def __init__(self) -> None:
        self.schema = load()


@pytest.mark.parametrize("below", [("fields{type{ofType{", "}}}"), ("possibleTypes{interfaces{", "}}")])
def test_types_within_types_are_not_listed_without_end(below: tuple[str, str]) -> None:
    opened, closed = below
    text = "{__schema{types{" + opened * 8 + "name" + closed * 8 + "}}}"
    answer: dict[str, Any] = anyio.run(execute, NoCalls(), text)  # type: ignore[arg-type]
    assert "introspection of more than" in answer["errors"][0]["message"]


def test_all_introspection_of_a_request_counts_together() -> None:
    text = (
        "{"
        + " ".join(f"a{n}:__schema{{types{{fields{{type{{ofType{{fields{{name}}}}}}}}}}}}" for n in range(99))
        + "}"
    )
    answer: dict[str, Any] = anyio.run(execute, NoCalls(), text)  # type: ignore[arg-type]
    assert "introspection of more than" in answer["errors"][0]["message"]
