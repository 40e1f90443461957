"""Finds the container of a failed command in its query."""

from __future__ import annotations

import gql
import pytest

from rondel.operations.failed_command import FailedCommand, find_command

QUERY = """
query {
  node(id: "x") {
    ... on Container {
      withEnvVariable(name: "A", value: "1") {
        withExec(args: ["true"]) {
          withExec(args: ["sh", "-c", "exit 3"], expect: SUCCESS, stdin: "in") {
            withWorkdir(path: "/") { stdout }
          }
        }
      }
    }
  }
}
"""


def found(query: str, *command: str) -> FailedCommand | None:
    return find_command(gql.gql(query).document, command)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_the_query_before_ends_ahead_of_the_command() -> None:
    failed = found(QUERY, "sh", "-c", "exit 3")
    assert failed is not None
    assert squeezed(failed.query("before")) == (
        '{ node(id: "x") { ... on Container { withEnvVariable(name: "A", value: "1") '
        '{ withExec(args: ["true"]) { id } } } } }'
    )


def test_the_query_after_includes_the_command_and_expects_any_exit_code() -> None:
    failed = found(QUERY, "sh", "-c", "exit 3")
    assert failed is not None
    assert squeezed(failed.query("after")).endswith(
        'withExec(args: ["true"]) { withExec( args: ["sh", "-c", "exit 3"] stdin: "in" expect: ANY ) '
        "{ id } } } } } }"
    ) or squeezed(failed.query("after")).endswith(
        'withExec(args: ["true"]) { withExec(args: ["sh", "-c", "exit 3"], stdin: "in", expect: ANY) '
        "{ id } } } } } }"
    )
    first = found(QUERY, "true")
    assert first is not None
    assert first.query("after").count("withExec") == 1


@pytest.mark.parametrize(("commands", "known"), [(["one"], True), (["one", "two"], False)])
def test_a_command_that_the_image_changed_is_known_if_it_is_the_only_one(
    commands: list[str], known: bool
) -> None:
    query = "stdout"
    for command in commands:
        query = f'withExec(args: ["{command}"]) {{ {query} }}'
    failed = found(f"{{ container {{ {query} }} }}", "entry", "one")
    assert (failed is not None) is known


def test_a_query_without_the_command_finds_nothing() -> None:
    assert found('{ file(id: "y") { contents } }', "true") is None
