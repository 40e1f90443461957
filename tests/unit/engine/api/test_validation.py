from __future__ import annotations

import pytest

from rondel.engine.api.document import parse
from rondel.engine.api.schema import load
from rondel.engine.api.validation import validate


def problems(text: str) -> list[str]:
    document = parse(text)
    return [invalid.message for invalid in validate(load(), document)]


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
        ("{version{x}}", 'Cannot query field "x" on type "String".'),
        ("{a:version a:defaultPlatform}", '"version" and "defaultPlatform" are different fields.'),
        (
            '{container{id ...on Container{id} ...f}} fragment f on Container{l:label(name:"a") l:label(name:"b")}',
            'Fields "l" conflict because they have differing arguments.',
        ),
        ("{version} fragment f on Query{version}", 'Fragment "f" is never used.'),
        ("{container{... on Directory{entries}}}", 'of type "Container" can never be of type "Directory".'),
        (
            "{container{...f}} fragment f on Query{version}",
            'Fragment "f" cannot be spread here as objects of type "Container" can never be of type "Query".',
        ),
        ("query($x:Int){version}", 'Variable "$x" is never used.'),
        ("query Q($x:Int){version}", 'Variable "$x" is never used in operation "Q".'),
        ("query($x:Nope){version}", 'Unknown type "Nope".'),
        ("query($x:Container){version}", 'Variable "$x" cannot be non-input type "Container".'),
        (
            "query($x:String){container{withUser(name:$x){id}}}",
            'Variable "$x" of type "String" used in position expecting type "String!".',
        ),
        ("query($x:String!){node(id:$x){id}}", 'of type "String!" used in position expecting type "ID!".'),
        ("{version} {version}", "This anonymous operation must be the only defined operation."),
        ("query A{version} query A{version}", 'There can be only one operation named "A".'),
        ('{container{withUser(name:"a",name:"b"){id}}}', 'There can be only one argument named "name".'),
        (
            "{host{service(ports:[{backend:1,backend:2}]){id}}}",
            'There can be only one input field named "backend".',
        ),
        ("mutation{version}", 'Schema does not support operation type "mutation"'),
        ('{node(id:"x"){stdout}}', 'Did you mean to use an inline fragment on "Container"?'),
        ("{directory{withFil{id}}}", 'Did you mean "withFile" or "withFiles"?'),
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
        'query($x:String="a"){container{withUser(name:$x){id}}}',
        "query($p:[PortForward!]!){host{service(ports:$p){id}}}",
        "query($p:Int!){host{service(ports:[{backend:$p}]){id}}}",
        '{container{...on Node{id} ...on Syncer{sync}} node(id:"x"){... on Syncer{sync}}}',
        "query A{version} query B{version}",
        "{...a directory{...b}} fragment a on Query {version} fragment b on Directory {entries}",
        "{__schema{types{name fields{name type{ofType{name}}}}}}",
    ],
)
def test_finds_nothing_wrong_with_good_queries(text: str) -> None:
    assert problems(text) == []


def test_a_variable_that_only_a_fragment_uses_is_used() -> None:
    assert problems("query($x:Boolean!){...f} fragment f on Query{version @include(if:$x)}") == []


def test_stops_after_some_errors() -> None:
    assert len(problems("{" + " ".join(f"x{i}" for i in range(500)) + "}")) <= 20
