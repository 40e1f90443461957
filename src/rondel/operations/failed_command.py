"""Finds the container of a command that failed in the plain Dagger API.

The Dagger client does not keep what a stage builds, but its error has the query
that failed. From the query's chain of calls, this module cuts out those of the
container before the command, or after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dagger
    import graphql

    Part = graphql.FieldNode | graphql.InlineFragmentNode


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCommand:
    """A command that failed: ``parts`` is the query's chain of calls, and ``parts[at]`` the command."""

    parts: Sequence[Part]
    at: int

    def query(self, when: Literal["before", "after"]) -> str:
        """The query for the ID of the container before or after the command."""
        from graphql import FieldNode, NameNode, OperationDefinitionNode, OperationType, print_ast

        chain = list(self.parts[: self.at + (when == "after")])
        if when == "after":
            chain[-1] = _allowed_to_fail(chain[-1])  # type: ignore[arg-type]
        node: Any = FieldNode(name=NameNode(value="id"))
        for part in reversed(chain):
            node = _with_child(part, node)
        made = OperationDefinitionNode(
            operation=OperationType.QUERY, selection_set=_selection(node), variable_definitions=[]
        )
        return print_ast(made)


def find_command(document: graphql.DocumentNode, command: Sequence[str]) -> FailedCommand | None:
    """Find a command in a query; None if it is in another query, whose result is an input of this one."""
    from graphql import FieldNode, value_from_ast_untyped

    parts = _chain(document)
    found = [
        (number, [value_from_ast_untyped(arg.value) for arg in part.arguments if arg.name.value == "args"])
        for number, part in enumerate(parts)
        if isinstance(part, FieldNode) and part.name.value == "withExec"
    ]
    same = [number for number, args in found if args == [list(command)]]
    # An entry point or expanded variables make the failed command differ from the requested one.
    at = same[0] if same else found[0][0] if len(found) == 1 else None
    return None if at is None else FailedCommand(parts=parts, at=at)


def exec_error(error: BaseException) -> dagger.ExecError | None:
    """The failed command in a stage's exception, which may be a group."""
    import dagger

    if isinstance(error, dagger.ExecError):
        return error
    inner: Sequence[BaseException] = getattr(error, "exceptions", ())
    return next((found for each in inner if (found := exec_error(each)) is not None), None)


async def container_of(
    failed: FailedCommand, of: dagger.Container, when: Literal["before", "after"]
) -> dagger.Container:
    """The container before or after the failed command.

    The query for the latter expects any exit code: otherwise Dagger drops the container.
    """
    import gql

    # The Dagger client has no public way to send a whole query.
    context = of._ctx  # noqa: SLF001
    found: Any = await context.conn.session.execute(gql.gql(failed.query(when)))
    while isinstance(found, dict):
        found = next(iter(found.values()))
    return type(of)(context.select_id("Container", str(found)))


def _chain(document: graphql.DocumentNode) -> list[Part]:
    parts: list[Part] = []
    node: Any = document.definitions[0]
    while getattr(node, "selection_set", None) is not None:
        node = node.selection_set.selections[0]
        parts.append(node)
    return parts


def _allowed_to_fail(node: graphql.FieldNode) -> graphql.FieldNode:
    from graphql import ArgumentNode, EnumValueNode, FieldNode, NameNode

    kept = [each for each in node.arguments if each.name.value != "expect"]
    expect = ArgumentNode(name=NameNode(value="expect"), value=EnumValueNode(value="ANY"))
    return FieldNode(name=node.name, alias=node.alias, arguments=[*kept, expect])


def _with_child(part: Part, child: Any) -> Any:
    from graphql import FieldNode, InlineFragmentNode

    if isinstance(part, InlineFragmentNode):
        return InlineFragmentNode(type_condition=part.type_condition, selection_set=_selection(child))
    return FieldNode(
        name=part.name, alias=part.alias, arguments=part.arguments, selection_set=_selection(child)
    )


def _selection(child: Any) -> Any:
    from graphql import SelectionSetNode

    return SelectionSetNode(selections=[child])
