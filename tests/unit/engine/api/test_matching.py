"""Searching files: what is read, and what a file that is too large comes to."""

import io

import pytest

from rondel.engine.api.matching import Matcher
from rondel.engine.api.searching import search_tree
from rondel.engine.store import TreeEntry
from rondel.errors import EngineError

S_IFREG = 0o100644


class Large(io.BytesIO):
    """A file of which nobody may read all at once."""

    def read(self, size=-1):
        if size is None or size < 0:
            raise MemoryError
        return super().read(size)


class Tree:
    """One large file."""

    def lookup(self, path):
        return TreeEntry("/big", "/big", S_IFREG, 0, 0, 1, 0) if path == "/big" else None

    def open(self, path):
        return Large(b"one\ntwo\n")


def test_a_file_is_searched_line_by_line():
    (found,) = Matcher({"pattern": "two"}).results("f", Large(b"one\ntwo\n"))
    assert (found.line_number, found.absolute_offset, found.matched_lines) == (2, 4, "two\n")


def test_a_match_that_cannot_cross_lines_is_searched_line_by_line_too():
    assert list(Matcher({"pattern": "tw.", "multiline": True}).results("f", Large(b"two\n")))


def test_a_file_that_does_not_fit_into_memory_is_named():
    with pytest.raises(EngineError, match="not enough memory for big"):
        search_tree(Tree(), "/", ["big"], [], {"pattern": "one\\n", "multiline": True})


@pytest.mark.parametrize(
    ("pattern", "line", "spans"),
    [
        ("a*", b"baaa", [(0, 0), (1, 4)]),
        ("$", b"ab", [(2, 2)]),
        (r"\w+", "gr\u00f6\u00dfe 2".encode(), [(0, 7), (8, 9)]),
        (r"[\d.]+", b"v1.5", [(1, 4)]),
        (r"\W", "\u00e9-".encode(), [(2, 3)]),
        (r"\s", "a\u00a0b".encode(), [(1, 3)]),
        (r"[^\s]", " \u00a0b".encode(), [(3, 4)]),
        (r"\\d", rb"\d", [(0, 2)]),
        ("\u00c9", "\u00e9".encode(), [(0, 2)]),
    ],
)
def test_matches_are_those_of_ripgrep(pattern, line, spans):
    (found,) = Matcher({"pattern": pattern, "insensitive": True}).results("f", io.BytesIO(line))
    assert [(part.start, part.end) for part in found.submatches] == spans


@pytest.mark.parametrize("data", [b"\0two", b"", b"\xfftwo\n"])
def test_what_is_no_text_has_no_matches(data):
    for options in ({"pattern": "two"}, {"pattern": r"two\s*", "multiline": True}):
        assert not list(Matcher(options).results("f", io.BytesIO(data)))
