"""Streams in pieces: nothing is lost, changed or left behind."""

import io
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rondel.engine.images import chunked
from rondel.engine.images.chunked import CHUNK, BackgroundWriter, ChunkedWriter

SIZES = st.sampled_from((0, 1, 7, 511, 512, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3))


class Notes:
    """A sink that remembers what it was given, as it was given."""

    def __init__(self):
        self.given = []

    def write(self, data):
        self.given.append(data)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("write", "zeros", "read", "short")), SIZES), max_size=6))
def test_pieces_are_whole_and_together_what_was_written(steps):
    sink, wanted = Notes(), io.BytesIO()
    gathering = ChunkedWriter(sink)
    for number, (kind, size) in enumerate(steps, 1):
        data = bytes([number]) * size
        if kind == "write":
            gathering.write(data)
        elif kind == "zeros":
            data = bytes(size)
            gathering.zeros(size)
        else:
            held = os.memfd_create("piece")
            there = data[: size // 2] if kind == "short" else data + b"more than was told"
            os.write(held, there)
            os.lseek(held, 0, os.SEEK_SET)
            gathering.read(held, size)
            os.close(held)
            data = there[:size].ljust(size, b"\0")
        wanted.write(data)
    assert gathering.written == wanted.tell()
    gathering.close()
    assert b"".join(sink.given) == wanted.getvalue()
    assert all(len(piece) == CHUNK for piece in sink.given[:-1])


def test_a_large_file_is_asked_for_in_advance_and_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(chunked, "AHEAD", 3 * CHUNK)
    content = os.urandom(CHUNK) * 8 + b"end"
    (tmp_path / "f").write_bytes(content)
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, size, __: asked.append((start, size)))
    sink = Notes()
    gathering = ChunkedWriter(sink)
    held = os.open(tmp_path / "f", os.O_RDONLY)
    gathering.read(held, len(content))
    os.close(held)
    gathering.close()
    assert b"".join(sink.given) == content
    assert [start for start, _ in asked] == [number * CHUNK for number in range(3, 9)]


def test_what_is_written_behind_keeps_its_order():
    sink = Notes()
    with BackgroundWriter(sink, most=2) as behind:
        for number in range(100):
            behind.write(bytes([number]))
    assert b"".join(sink.given) == bytes(range(100))


def test_a_sink_that_fails_is_told_and_no_thread_stays():
    class Full:
        def write(self, _data):
            raise OSError(28, "No space left on device")

    def fill(times):
        with BackgroundWriter(Full(), most=2) as behind:
            for _ in range(times):
                behind.write(b"x")

    before = threading.active_count()
    for times in (100, 1):  # by a later write, or when it is left
        with pytest.raises(OSError, match="No space left"):
            fill(times)
        assert threading.active_count() == before
