from __future__ import annotations

from rondel.engine.evaluate.errors import ERROR_OUTPUT_LIMIT, shortened


def test_an_output_that_fits_is_left_alone() -> None:
    data = b"a" * ERROR_OUTPUT_LIMIT
    assert shortened(data, len(data)) == data


def test_a_long_output_keeps_its_end_and_says_what_is_left_out_within_the_limit() -> None:
    data = b"x" * 50 + b"y" * ERROR_OUTPUT_LIMIT
    short = shortened(data, len(data))
    assert len(short) == ERROR_OUTPUT_LIMIT
    assert short.startswith(b"[omitting 50 bytes]...y")
    assert shortened(data[-ERROR_OUTPUT_LIMIT:], len(data)) == short
