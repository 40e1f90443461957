from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from rondel.engine.sandbox.output import Scrubber, patterns_of


def scrub(chunks: list[bytes], *secrets: bytes) -> bytes:
    scrubber = Scrubber(patterns_of(secrets))
    return b"".join(scrubber.feed(chunk) for chunk in chunks) + scrubber.flush()


def test_exact_trimmed_and_base64_forms_are_masked():
    value = b" my-token-value\n"
    text = b"[" + value + b"][my-token-value][" + base64.b64encode(value) + b"]"
    assert scrub([text], value) == b"[***][***][***" + b"=" * (text.count(b"=")) + b"]"


def test_adjacent_and_single_letter_secrets():
    assert scrub([b"topsectopsec"], b"topsec") == b"******"
    assert scrub([b"azbzc\n"], b"z") == b"a***b***c\n"


def test_empty_secrets_mask_nothing():
    assert scrub([b"abc"], b"", b"  ") == b"a" + b"bc"


def test_lines_of_a_longer_secret_are_not_masked_alone():
    assert scrub([b"one\ntwo\n", b"--one\n"], b"one\ntwo\n") == b"***--one\n"


def test_the_longest_form_wins_also_across_chunks():
    assert scrub([b"a-secret", b"\n."], b"a-secret\n") == b"***."


def test_nothing_is_held_back_for_long():
    scrubber = Scrubber(patterns_of([b"abcdef"]))
    assert scrubber.feed(b"progress 10%\nabc") == b"progress 10%\n"
    assert scrubber.feed(b"x") == b"abcx"


@given(st.lists(st.sampled_from([b"a", b"b", b"ab", b"aab", b"ba", b"x"]), max_size=30), st.integers(1, 5))
def test_chunking_never_changes_the_result_nor_lets_a_secret_through(pieces, size):
    text = b"".join(pieces)
    chunks = [text[n : n + size] for n in range(0, len(text), size)]
    secrets = (b"aab", b"ba")
    assert scrub(chunks, *secrets) == scrub([text], *secrets)
    assert b"aab" not in scrub(chunks, *secrets)
    assert b"ba" not in scrub(chunks, *secrets)


@given(st.binary(max_size=7), st.binary(min_size=6, max_size=40), st.binary(max_size=7), st.booleans())
def test_base64_of_something_longer_shows_no_whole_letter_of_a_secret(before, value, after, url_safe):
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    text = encode(before + value + after)
    start, end = -(-len(before) * 8 // 6), (len(before) + len(value)) * 8 // 6
    scrubbed = scrub([text], value)
    assert b"***" in scrubbed
    assert len(scrubbed) <= len(text) - (end - start) + 3
