"""The masker: every ordinary form of a secret, in texts and in streams that are cut anywhere."""

from __future__ import annotations

import base64
import html
import json
import os
import random
import re
import shlex
import urllib.parse

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rondel.secrets.masker import MASK, Masker

AWKWARD = "p\"ass'w\\or&d <ö>/ +%~!(z)"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7+/VJ\n-----END PRIVATE KEY-----\n"
ACCOUNT = {
    "type": "service_account",
    "private_key_id": "0123456789abcdef",
    "private_key": PEM,
    "client_email": "robot@project.example",
    "nested": {"refresh_token": "1//refresh-me"},
}


def masked(text: str, *values: str) -> str:
    return Masker(values).text(text)


FORMS = {
    "plain": AWKWARD,
    "repr": repr(AWKWARD)[1:-1],
    "repr within double quotes": repr("it's " + AWKWARD.replace('"', ""))[6:-1],
    "repr of an exception": repr(ValueError(AWKWARD))[12:-2],
    "ascii": ascii(AWKWARD)[1:-1],
    "repr of bytes": repr(AWKWARD.encode())[2:-1],
    "json": json.dumps(AWKWARD)[1:-1],
    "json as it is": json.dumps(AWKWARD, ensure_ascii=False)[1:-1],
    "json with escaped slashes": json.dumps(AWKWARD)[1:-1].replace("/", "\\/"),
    "json of Go": json.dumps(AWKWARD, ensure_ascii=False)[1:-1]
    .replace("&", "\\u0026")
    .replace("<", "\\u003c")
    .replace(">", "\\u003e"),
    "html": html.escape(AWKWARD),
    "html without quotes": html.escape(AWKWARD, quote=False),
    "html of Jinja": html.escape(AWKWARD).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    "url": urllib.parse.quote(AWKWARD, safe=""),
    "url of a path": urllib.parse.quote(AWKWARD),
    "url of a form": urllib.parse.quote_plus(AWKWARD),
    "url of JavaScript": urllib.parse.quote(AWKWARD, safe="!~*'()"),
    "url in lower case": re.sub("%..", lambda m: m[0].lower(), urllib.parse.quote(AWKWARD, safe="")),
    "shell": shlex.quote(AWKWARD)[1:-1],
    "shell trace": AWKWARD.replace("'", "'\\''"),
    "base64": base64.b64encode(AWKWARD.encode()).decode().rstrip("="),
    "base64 for urls": base64.urlsafe_b64encode(AWKWARD.encode()).decode().rstrip("="),
    "hex": AWKWARD.encode().hex(),
    "hex in capitals": AWKWARD.encode().hex().upper(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_a_secret_is_masked(form: str) -> None:
    value = AWKWARD.replace('"', "") if form == "repr within double quotes" else AWKWARD
    text = f"begin[{FORMS[form]}]end"
    assert masked(text, value) == f"begin[{MASK}]end"


def test_base64_of_user_and_password_is_masked() -> None:
    header = base64.b64encode(b"robot:hunter2-hunter2").decode()
    out = masked(f"Authorization: Basic {header}", "hunter2-hunter2")
    assert out == f"Authorization: Basic {header[:8]}{MASK}"


def test_wrapped_base64_is_masked_line_by_line() -> None:
    value = "".join(random.Random(1).choices("abcdefgh", k=200))
    for wrapped in (
        base64.encodebytes(value.encode()).decode(),
        _in_lines(base64.b64encode(value.encode()).decode(), 64),
    ):
        assert not re.search(r"[A-Za-z0-9]{8}", masked(wrapped, value))


def _in_lines(text: str, width: int) -> str:
    return "\n".join(text[at : at + width] for at in range(0, len(text), width))


def test_lines_of_a_multi_line_credential_are_masked_one_by_one() -> None:
    for line in PEM.splitlines():
        assert masked(f"12:00 {line}", PEM) == f"12:00 {MASK}"
    assert masked(repr(PEM), PEM) == f"'{MASK}\\n'"
    assert masked(urllib.parse.quote("AASCBKcwggSjAgEAAoIBAQC7+/VJ", safe=""), PEM) == MASK


@pytest.mark.parametrize("indent", [None, 2])
def test_secrets_in_a_json_credential_are_masked_alone(indent: int | None) -> None:
    document = json.dumps(ACCOUNT, indent=indent)
    for secret in ("0123456789abcdef", "1//refresh-me", "AASCBKcwggSjAgEAAoIBAQC7+/VJ", PEM.strip()):
        assert masked(f"<{secret}>", document) == f"<{MASK}>"
    assert masked("robot@project.example", document) == "robot@project.example"
    for line in document.splitlines():
        assert len(line.strip()) < 6 or line.endswith("{") or MASK in masked(line, document)


def test_secrets_in_an_env_and_an_ini_file_are_masked_alone() -> None:
    document = "[default]\nregion = eu-west-1\naws_secret_access_key = abcdef/0123\nexport DB_PASSWORD='open sesame'\n"
    assert masked("abcdef/0123 open sesame eu-west-1", document) == f"{MASK} {MASK} eu-west-1"


def test_structure_of_a_credential_is_not_masked() -> None:
    kubeconfig = "apiVersion: v1\nusers:\n- name: robot\n  user:\n    token: abcdef-0123456\n"
    assert masked("users: robot abcdef-0123456", kubeconfig) == f"users: robot {MASK}"


def test_short_values_and_their_forms_are_left_alone() -> None:
    assert masked("a1 b1 MQ== 31", "1") == "a1 b1 MQ== 31"
    assert not Masker(["abc", "  ", ""])
    assert Masker(["abcd"])


def test_a_value_counts_without_the_space_around_it() -> None:
    assert masked("[abcd-efgh][abcd-efgh\n]", "abcd-efgh\n") == f"[{MASK}][{MASK}]"


def test_adjacent_secrets_and_single_letters_are_masked_one_by_one() -> None:
    assert masked("topsectopsec", "topsec") == MASK * 2
    assert Masker([b"z"], shortest=1).data(b"azbzc\n") == b"a***b***c\n"


@given(st.binary(max_size=7), st.binary(min_size=6, max_size=40), st.binary(max_size=7), st.booleans())
def test_base64_of_something_longer_shows_no_whole_letter_of_a_secret(
    before: bytes, value: bytes, after: bytes, url_safe: bool
) -> None:
    assume(len(value.strip()) >= 6)
    encode = base64.urlsafe_b64encode if url_safe else base64.b64encode
    text = encode(before + value + after)
    start, end = -(-len(before) * 8 // 6), (len(before) + len(value)) * 8 // 6
    masked = Masker([value]).data(text)
    assert b"***" in masked
    assert len(masked) <= len(text) - (end - start) + 3


def test_overlapping_secrets_are_hidden_whole() -> None:
    assert masked("<abcdefgh>", "abcdef", "cdefgh") == f"<{MASK}>"


def test_bytes_that_are_no_text_are_masked_and_others_kept() -> None:
    value = b"\xff\xfe\x00secret\x80"
    masker = Masker([value])
    assert masker.data(b"a" + value + b"\xc3") == b"a***\xc3"
    assert masker.data(b"[" + repr(value).encode() + b"]") == b"[b'***']"
    assert masker.text(os.fsdecode(b"\xf0" + value + b"\xf1")) == os.fsdecode(b"\xf0***\xf1")


def test_texts_with_lone_surrogates_survive() -> None:
    assert masked("\ud800 abcd-efgh \udfff", "abcd-efgh") == f"\ud800 {MASK} \udfff"


def test_a_text_without_secrets_is_the_same_object() -> None:
    text = "nothing to see " * 100
    assert Masker(["abcd-efgh"]).text(text) is text


def test_a_wider_masker_hides_more_and_the_same_values_need_no_other() -> None:
    one = Masker(["abcd-efgh"])
    two = one.adding(["ijkl-mnop"])
    assert two.text("abcd-efgh ijkl-mnop") == f"{MASK} {MASK}"
    assert two.adding(["abcd-efgh"]) is two
    assert one.joined([two]).text("ijkl-mnop") == MASK


def test_found_in_sees_secrets_across_the_steps_of_a_large_file() -> None:
    masker = Masker(["abcd-efgh-ijkl"])
    for at in ((1 << 18) - 5, 0, 700_000):
        data = bytearray(b"." * 800_000)
        data[at : at + 14] = b"abcd-efgh-ijkl"
        assert masker.found_in(bytes(data))
        assert masker.data(bytes(data)) == b"." * at + b"***" + b"." * (800_000 - at - 14)
    assert not masker.found_in(b"." * 800_000)


LARGE = "".join(random.Random(2).choices("abcdefghijklmnop", k=100_000))


@pytest.mark.parametrize("form", ["plain", "base64", "hex", "repr"])
def test_a_large_secret_is_one_mask_and_no_part_of_it_shows(form: str) -> None:
    value = LARGE + "\n'\"" + LARGE[::-1]
    text = {
        "plain": value,
        "base64": base64.b64encode(value.encode()).decode().rstrip("="),
        "hex": value.encode().hex(),
        "repr": repr(value)[1:-1],
    }[form]
    stream = Masker([value]).stream()
    data = f"<{text}>".encode()
    out = b"".join(stream.feed(data[at : at + 7000]) for at in range(0, len(data), 7000)) + stream.flush()
    assert out == b"<***>"
    assert masked(f"cut off: {text[:5000]}", value).startswith(f"cut off: {MASK}")


def test_a_large_secret_of_lines_is_masked_by_line() -> None:
    value = _in_lines(LARGE, 64)
    assert masked(f"> {LARGE[64:128]} <", value) == f"> {MASK} <"


def test_a_stream_holds_back_only_what_may_be_a_secret() -> None:
    stream = Masker(["abcdef"]).stream()
    assert stream.feed(b"progress 10%\nabc") == b"progress 10%\n"
    assert stream.feed(b"x") == b"abcx"
    assert stream.feed(b"abcdef") == b"***"
    assert stream.feed(b"abcdefabc") == b"***"
    assert stream.flush() == b"abc"


def test_a_stream_never_holds_more_than_a_piece() -> None:
    stream = Masker(["x" * 1_000_000 + "y"]).stream()
    given_out = sum(len(stream.feed(b"x" * 1000)) for _ in range(100))
    assert len(stream.flush()) <= 2048
    assert given_out <= 3


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "ab", "aab", "ba", "x", "abcab", "\n"]), max_size=40),
    st.sets(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=4),
    st.lists(st.integers(1, 5), min_size=1, max_size=60),
)
def test_where_a_stream_is_cut_changes_nothing(parts: list[str], values: set[str], sizes: list[int]) -> None:
    data = "".join(parts).encode()
    masker = Masker(values, shortest=1)
    whole = masker.data(data)
    stream = masker.stream()
    out, at = b"", 0
    for size in sizes:
        out += stream.feed(data[at : at + size])
        at += size
    out += stream.feed(data[at:]) + stream.flush()
    assert out == whole
    assert not any(value.encode() in out for value in values)


@settings(deadline=None)
@given(st.binary(min_size=6, max_size=3000), st.binary(max_size=50), st.integers(1, 700))
def test_a_secret_in_a_stream_is_always_masked(value: bytes, around: bytes, size: int) -> None:
    masker = Masker([value])
    data = around + value + around
    stream = masker.stream()
    out = b"".join(stream.feed(data[at : at + size]) for at in range(0, len(data), size)) + stream.flush()
    if masker and value not in b"***" + around + b"***":
        assert value not in out
