from __future__ import annotations

import pytest

from rondel.engine.values.gojson import dumps, loads
from rondel.errors import EngineError


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1.0", "1"),
        ("12345678901234567890", "12345678901234567000"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("0.00001", "0.00001"),
        ("1e-7", "1e-7"),
        ("1.5e-10", "1.5e-10"),
        ("-2.50", "-2.5"),
        ('"1e-05 <&>"', r'"1e-05 \u003c\u0026\u003e"'),
        ('{"b": [], "a": {}, "a": "é"}', '{"a":"é","b":[]}'),
    ],
)
def test_a_value_is_written_as_go_does(text: str, written: str) -> None:
    assert dumps(loads(text)) == written


def test_a_value_is_set_out_with_any_indent() -> None:
    assert dumps(loads('{"b":[1],"a":{}}'), indent="\t") == '{\n\t"a": {},\n\t"b": [\n\t\t1\n\t]\n}'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "unexpected end of JSON input"),
        ('["abc', "unexpected end of JSON input"),
        ("tru", "invalid character ' ' in literal true (expecting 'e')"),
        ("nope", "invalid character 'o' in literal null (expecting 'u')"),
        ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":"}" "b":2}', "invalid character '\"' after object key:value pair"),
        ('{"a":[1 2]}', "invalid character '2' after array element"),
        ("{} {}", "invalid character '{' after top-level value"),
        ('"a\nb"', r"invalid character '\n' in string literal"),
        (r'"\x"', "invalid character 'x' in string escape code"),
        ("[NaN]", "invalid character 'N' looking for beginning of value"),
        ("é", "invalid character 'Ã' looking for beginning of value"),
        ("1e999", "json: cannot unmarshal number 1e999 into Go value of type float64"),
    ],
)
def test_what_is_no_json_is_refused_in_gos_words(text: str, words: str) -> None:
    with pytest.raises(EngineError) as raised:
        loads(text)
    assert raised.value.what == words
