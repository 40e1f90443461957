"""Lists of path patterns: the rules of https://github.com/moby/patternmatcher."""

from __future__ import annotations

import itertools
import re

import pytest
from e2b_dockerfile_utils import PatternMatcher
from hypothesis import given
from hypothesis import strategies as st

from rondel.errors import EngineError
from rondel.files.patterns import Patterns


@pytest.mark.parametrize(
    ("patterns", "matched", "unmatched"),
    [
        (["**"], ["a", "a/b"], []),
        (["a/**"], ["a/b", "a/b/c"], ["a", "ab"]),
        (["**/a"], ["a", "x/a", "x/a/y"], ["xa"]),
        (["**.py"], ["a.py", "x/a.py", "x/.py"], ["a.pyc"]),
        (["a**"], ["a", "ab", "ab/c", "a/b"], ["b/a"]),
        (["**/x/*"], ["x/a", "y/x/a/b"], ["x"]),
        (["a**/*.txt"], ["a/b.txt", "a/c/b.txt"], ["b/a.txt"]),
        (["*.txt"], ["a.txt", "a.txt/b"], ["d/a.txt"]),
        (["a?c"], ["abc"], ["a/c", "ac"]),
        (["a[b-d]e", "x[^b-d]e"], ["ace", "xze"], ["aae", "xbe"]),
        ([r"a\*b", r"[\]]"], ["a*b", "]"], ["axb"]),
        (["[[]x", "[&&|~]"], ["[x", "&", "~"], ["x"]),
        (["a.|)$(}+{bc"], ["a.|)$(}+{bc"], ["axbc"]),
        (["./a", "b/", "c//d", "e/../f"], ["a", "b", "c/d", "f"], ["e"]),
        (["/a"], [], ["a"]),
        (["", "  ", " a "], ["a"], ["b"]),
        # exceptions
        (["docs", "!docs/README.md"], ["docs", "docs/x"], ["docs/README.md"]),
        (["docs/*", "!docs/sub"], ["docs/a", "docs/a/b"], ["docs/sub", "docs/sub/x"]),
        (["*", "!keep"], ["a", "a/keep"], ["keep", "keep/x"]),
        (["**", "!util/web", "util/web/foo"], ["util", "util/web/foo"], ["util/web", "util/web/bar"]),
        (["!a", "*"], ["a"], []),
        (["!a"], [], ["a", "b"]),
        # an exception says nothing of what did not match when it was asked
        (["**/tmp", "!keep"], ["tmp", "keep/tmp", "keep/tmp/x"], ["keep", "keep/a"]),
        (["**/tmp", "!keep/tmp"], ["tmp"], ["keep/tmp", "keep/tmp/x"]),
        (["a", "!b", "**/c"], ["a", "b/c", "c"], ["b"]),
        # cleaned before its mark is read, and not after
        (["*", "! a"], ["a"], []),
    ],
)  # fmt: skip
def test_a_list_of_patterns(patterns: list[str], matched: list[str], unmatched: list[str]) -> None:
    chosen = Patterns.of(patterns)
    assert [path for path in matched + unmatched if chosen.matches(path)] == matched


@pytest.mark.parametrize("pattern", ["[", "[]", "[]a]", "[^]", "[a", "[-]", "[a-]", "a\\", "!["])
def test_a_bad_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(EngineError, match="syntax error in pattern"):
        Patterns.of(["a", pattern])


def test_a_mark_alone_is_refused() -> None:
    with pytest.raises(EngineError, match=re.escape('illegal exclusion pattern: "!"')):
        Patterns.of([" ! "])


PART = st.sampled_from(["a", "b", "ab", "*", "**", "?", "a*", "[ab]", "[^a]", "**b"])
PATTERN = st.builds(
    "{}{}".format, st.sampled_from(["", "", "!"]), st.lists(PART, min_size=1, max_size=3).map("/".join)
)
PATH = st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=1, max_size=4)


@given(st.lists(PATTERN, min_size=1, max_size=5), PATH)
def test_another_port_of_dockers_matcher_agrees(patterns: list[str], path: list[str]) -> None:
    assert Patterns.of(patterns).matches("/".join(path)) == PatternMatcher(patterns).matches("/".join(path))


@given(st.lists(PATTERN, min_size=1, max_size=5), PATH)
def test_no_exception_holds_below_a_directory_of_which_that_is_denied(
    patterns: list[str], path: list[str]
) -> None:
    chosen = Patterns.of(patterns)
    folders = list(itertools.accumulate(path[:-1], "{}/{}".format))
    closed = [folder for folder in folders if chosen.matches(folder) and not chosen.excepts_below(folder)]
    assert not closed or chosen.matches("/".join(path))
