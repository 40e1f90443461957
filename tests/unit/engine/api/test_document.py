from __future__ import annotations

import pytest

from rondel.engine.api.document import (
    MAX_DEPTH,
    EnumValue,
    FieldNode,
    Inline,
    Spread,
    SyntaxFailure,
    Variable,
    location,
    parse,
)


def only(text: str) -> FieldNode:
    (node,) = parse(text).operations[0].selections
    assert isinstance(node, FieldNode)
    return node


def test_reads_aliases_arguments_and_nesting() -> None:
    node = only('{ x: container(platform: "linux/amd64") { a b: c } }')
    assert (node.key, node.name, node.arguments) == ("x", "container", {"platform": "linux/amd64"})
    assert [(s.key, s.name) for s in node.selections or () if isinstance(s, FieldNode)] == [
        ("a", "a"),
        ("b", "c"),
    ]


def test_reads_every_kind_of_value() -> None:
    text = '{a(i:-4,f:2.5e3,s:"x",t:true,n:null,e:ANY,v:$v,l:[1,[2]],o:{k:"v"})}'
    arguments = only(text).arguments
    assert arguments == {
        "i": -4,
        "f": 2500.0,
        "s": "x",
        "t": True,
        "n": None,
        "e": "ANY",
        "v": Variable("v"),
        "l": [1, [2]],
        "o": {"k": "v"},
    }
    assert isinstance(arguments["e"], EnumValue)
    assert not isinstance(arguments["s"], EnumValue)


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        (r'"tab\t quote\" back\\ slash\/ nl\n é"', 'tab\t quote" back\\ slash/ nl\n é'),
        (r'"\uD83D\uDE00"', "😀"),
        (r'"\u{1F600}"', "😀"),
        (r'"\\u{41}"', r"\u{41}"),
        (r'"\uD83D alone"', "� alone"),
        ('"""\n    first\n      second \\"""\n    """', 'first\n  second """'),
        ('"""one line"""', "one line"),
        ('""', ""),
    ],
)
def test_reads_strings_as_the_specification_says(literal: str, value: str) -> None:
    assert only("{a(b:" + literal + ")}").arguments["b"] == value


def test_reads_fragments_variables_and_directives() -> None:
    document = parse(
        "query Q($p: [String!]! = [], $n: Int) @d { node @include(if: $n) { ...f ... on X { y } ... { z } } }"
        " fragment f on X { a }"
    )
    (operation,) = document.operations
    assert [(v.name, v.type, v.has_default) for v in operation.variables] == [
        ("p", "[String!]!", True),
        ("n", "Int", False),
    ]
    node = operation.selections[0]
    assert isinstance(node, FieldNode)
    assert node.directives[0].arguments == {"if": Variable("n")}
    spread, on_x, plain = node.selections or []
    assert isinstance(spread, Spread)
    assert isinstance(on_x, Inline)
    assert isinstance(plain, Inline)
    assert (spread.name, on_x.on, plain.on) == ("f", "X", None)
    assert document.fragments["f"].on == "X"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ version ", "Expected Name, found <EOF>"),
        ("{}", "expected at least one definition, found }"),
        ("{a()}", "expected at least one definition, found )"),
        ("{a(b:)}", "Unexpected )"),
        ('{a(b:"\\q")}', "<Invalid>"),
        ("{a", "Expected Name, found <EOF>"),
        ("nonsense", "Unexpected"),
        ("{a(b:{c:[)}", "Unexpected )"),
        ("fragment on on X {a}", "Unexpected"),
        ("{a} \x00", "<Invalid>"),
        ('{a(b:"open)}', "<Invalid>"),
    ],
)
def test_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(SyntaxFailure, match=message.replace("(", r"\(").replace(")", r"\)")):
        parse(text)


def test_never_repeats_a_string_in_an_error() -> None:
    with pytest.raises(SyntaxFailure) as raised:
        parse('{setSecret(name:"n" plaintext "hush-hush"){id}}')
    assert "hush" not in str(raised.value)


def test_nesting_goes_beyond_a_thousand_levels_and_has_an_end() -> None:
    def nested(depth: int) -> str:
        return "{a" * depth + "}" * depth

    assert parse(nested(3_000)).operations
    with pytest.raises(SyntaxFailure, match="nested"):
        parse(nested(MAX_DEPTH + 1))
    with pytest.raises(SyntaxFailure, match="nested"):
        parse("{a(b:" + "[" * 500 + "]" * 500 + ")}")


def test_location_counts_from_one() -> None:
    assert location("{\n  ab\n}", 4) == {"line": 2, "column": 3}
