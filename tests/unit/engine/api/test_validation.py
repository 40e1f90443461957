from __future__ import annotations

import pytest

from rondel.engine.api.document import parse
from rondel.engine.api.schema import load
from rondel.engine.api.validation import validate


def problems(text: str) -> list[str]:
    document = parse(text)
    return [invalid.message for invalid in validate(load(), document, document.operations[0])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{containr{id}}", 'Cannot query field "containr" on type "Query". Did you mean "container"?'),
        (
            '{container{withUser(nam:"a",name:"b"){id}}}',
            'Unknown argument "nam" on field "Container.withUser"',
        ),
        (
            '{container{withEnvVariable(name:"A"){id}}}',
            'Field "withEnvVariable" argument "value" of type "String!" is required, but it was not provided.',
        ),
        ('{node(id:"x"){... on Nonsense{id}}}', 'Unknown type "Nonsense".'),
        ("{version{x}}", 'Field "version" must not have a selection since type "String!" has no subfields.'),
        ("{...gone}", 'Unknown fragment "gone".'),
        ("{version @nope}", 'Unknown directive "@nope".'),
        ("{version @include}", 'argument "if" of type "Boolean!" is required'),
        ("query Q {container{withUser(name:$n){id}}}", 'Variable "$n" is not defined by operation "Q".'),
        ("{...a} fragment a on Query {...b} fragment b on Query {...a}", "within itself"),
        ('{node(id:"x"){... on String{id}}}', "non composite"),
    ],
)
def test_names_what_is_wrong(text: str, message: str) -> None:
    assert any(message in found for found in problems(text)), problems(text)


@pytest.mark.parametrize(
    "text",
    [
        "{__typename version}",
        '{node(id:"x"){id __typename ... on Container{stdout}}}',
        "query($y:Boolean!){version @include(if:$y)}",
        "{...a directory{...b}} fragment a on Query {version} fragment b on Directory {entries}",
        "{__schema{types{name fields{name type{ofType{name}}}}}}",
    ],
)
def test_finds_nothing_wrong_with_good_queries(text: str) -> None:
    assert problems(text) == []


def test_stops_after_some_errors() -> None:
    assert len(problems("{" + " ".join(f"x{i}" for i in range(500)) + "}")) <= 20
