"""Masks secrets in texts and in streams, wherever a stream is cut."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from rondel.secrets.values import SHORTEST

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ahocorasick_rs import BytesAhoCorasick

MASK = "***"
_MASK = MASK.encode()

_KEY = 8
"""Bytes of a pattern that the search looks for; the rest is compared where these were found.

The search stays small and fast that way, however long the secrets are.
"""

_PIECE = 1024
"""Longer patterns are cut into pieces of this size, which are masked one by one.

So a stream never waits for the end of a large secret, and a part of one is masked, too.
"""

_FEW = 1000
"""Up to so many keys the search is a DFA: the fastest, but large."""

_STEP = 1 << 18
"""Bytes of a text that are searched at once."""

_Group: TypeAlias = "bytes | list[tuple[int, frozenset[bytes]]]"
"""The patterns that begin with one key: a single one, or sets of equally long ones, the longest first."""


class Masker:
    """Puts :data:`MASK` in place of secret values and of all their forms.

    ``shortest`` is the length from which a value counts. The search is built
    when it is first needed.
    """

    def __init__(self, values: Iterable[str | bytes] = (), *, shortest: int = SHORTEST) -> None:
        given = {_encode(value) if isinstance(value, str) else value for value in values}
        self.values = frozenset(value for value in given if len(value.strip()) >= max(shortest, 1))
        self._shortest = shortest
        self._search: _Search | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to mask."""
        return bool(self.values)

    def adding(self, values: Iterable[str | bytes]) -> Masker:
        """A masker of these values, too; this one if it has them all."""
        wider = Masker([*self.values, *values], shortest=self._shortest)
        return self if wider.values == self.values else wider

    def joined(self, others: Iterable[Masker]) -> Masker:
        """A masker of the values of all; this one if it has them all."""
        return self.adding(value for other in others for value in other.values)

    def text(self, text: str) -> str:
        """``text`` without secrets."""
        if not self.values or not text:
            return text
        data = _encode(text)
        masked = self.data(data)
        return text if masked is data else _decode(masked)

    def data(self, data: bytes) -> bytes:
        """``data`` without secrets; the same object if there are none."""
        if not self.found_in(data):
            return data
        stream = self.stream()
        return stream.feed(data) + stream.flush()

    def found_in(self, data: bytes) -> bool:
        """Whether ``data`` holds a secret, or a large part of one."""
        if not self.values:
            return False
        search = self.search()
        if len(data) <= _STEP:
            return bool(search.spans(data)[0])
        back = search.longest - 1
        return any(search.spans(data[max(0, at - back) : at + _STEP])[0] for at in range(0, len(data), _STEP))

    def found_in_file(self, path: Path) -> bool:
        """The same for a file, of which little is in memory at once."""
        if not self.values:
            return False
        back = self.search().longest - 1
        rest = b""
        with path.open("rb") as file:
            while data := file.read(_STEP):
                data = rest + data
                if self.found_in(data):
                    return True
                rest = data[max(0, len(data) - back) :]
        return False

    def stream(self) -> MaskedStream:
        """A stream to mask; one masker serves any number."""
        return MaskedStream(self)

    def search(self) -> _Search:
        """The search for all forms of the values."""
        if self._search is None:
            from rondel.secrets.forms import forms_of

            found: set[bytes] = set()
            for value in self.values:
                found |= forms_of(value, self._shortest)
            self._search = _Search(found)
        return self._search


class MaskedStream:
    """Masks secrets in a stream of bytes, also where one is spread over several chunks."""

    def __init__(self, masker: Masker) -> None:
        self._search = masker.search() if masker else None
        self._held = b""
        self._masked = -1
        """Up to where what is held lies below a mask that was already shown; -1 if no mask was shown last."""

    def feed(self, data: bytes) -> bytes:
        """What can be shown so far; an end that may be the start of a secret is held back."""
        if self._search is None:
            return data
        if len(data) <= _STEP:
            return self._take(self._search, data)
        steps = range(0, len(data), _STEP)
        return b"".join(self._take(self._search, data[at : at + _STEP]) for at in steps)

    def flush(self) -> bytes:
        """What was held back, at the end of the stream."""
        return b"" if self._search is None else self._take(self._search, b"", last=True)

    def _take(self, search: _Search, data: bytes, *, last: bool = False) -> bytes:
        data = self._held + data if self._held else data
        spans, end = search.spans(data)
        end = len(data) if last else end
        shown: list[bytes] = []
        masked = self._masked
        position = max(masked, 0)
        for start, stop, continues in spans:
            if start >= end:
                break
            if start < masked or (continues and start == masked):
                masked = max(masked, stop)
            else:
                shown += (data[position:start], _MASK)
                masked = stop
            position = masked
        if position < end:
            shown.append(data[position:end] if position or end < len(data) else data)
        self._held = data[end:]
        self._masked = masked - end if masked >= end else -1
        return b"".join(shown)


class _Search:
    """Finds patterns: their first bytes by Aho-Corasick, the rest by comparison."""

    def __init__(self, forms: Iterable[bytes]) -> None:
        self._continuing: set[bytes] = set()
        pieces: set[bytes] = set()
        for form in forms:
            first, *others = _pieces(form)
            pieces.add(first)
            self._continuing.update(others)
        pieces |= self._continuing
        self._pieces = sorted(pieces)
        self._first = frozenset(piece[0] for piece in pieces)
        self.longest = max(map(len, pieces))
        grouped: dict[bytes, list[bytes]] = {}
        for piece in self._pieces:
            grouped.setdefault(piece[:_KEY], []).append(piece)
        self._groups = [_group(each) for each in grouped.values()]
        self._automaton = _automaton(grouped)

    def spans(self, data: bytes) -> tuple[list[tuple[int, int, bool]], int]:
        """Where secrets are, in order, and from where on ``data`` may hold the start of one.

        A span is its start, its end, and whether it continues the one that ends where it starts. Spans may
        overlap.
        """
        size = len(data)
        end = size
        spans: list[tuple[int, int, bool]] = []
        for number, start, _ in self._automaton.find_matches_as_indexes(data, overlapping=True):
            found = _match(self._groups[number], data, start)
            if found is not None:
                spans.append((start, start + len(found), found in self._continuing))
            if start + self.longest > size and start < end and self._may_begin(data[start:]):
                end = start
        for start in range(max(0, size - _KEY + 1), end):
            if data[start] in self._first and self._may_begin(data[start:]):
                end = start
                break
        spans.sort()
        return spans, end

    def _may_begin(self, rest: bytes) -> bool:
        """Whether a pattern begins with ``rest`` and goes on."""
        at = bisect_right(self._pieces, rest)
        return at < len(self._pieces) and self._pieces[at].startswith(rest)


def _automaton(keys: Iterable[bytes]) -> BytesAhoCorasick:
    from ahocorasick_rs import BytesAhoCorasick, Implementation

    patterns = list(keys)
    return BytesAhoCorasick(patterns, implementation=Implementation.DFA if len(patterns) <= _FEW else None)


def _group(pieces: list[bytes]) -> _Group:
    if len(pieces) == 1:
        return pieces[0]
    sizes = sorted({len(piece) for piece in pieces}, reverse=True)
    return [(size, frozenset(piece for piece in pieces if len(piece) == size)) for size in sizes]


def _match(group: _Group, data: bytes, start: int) -> bytes | None:
    """The longest pattern of a group that is in ``data`` at ``start``."""
    if isinstance(group, bytes):
        return group if data.startswith(group, start) else None
    for size, patterns in group:
        found = data[start : start + size]
        if found in patterns:
            return found
    return None


def _pieces(form: bytes) -> list[bytes]:
    """A pattern in pieces, all of one size but the last, which may be nearly twice as long."""
    if len(form) < 2 * _PIECE:
        return [form]
    cuts = [*range(0, len(form) - _PIECE + 1, _PIECE), len(form)]
    return [form[start:end] for start, end in pairwise(cuts)]


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # other lone surrogates, as JSON may bring them
        return text.encode("utf-8", "surrogatepass")


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")
