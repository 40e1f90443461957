"""Commands that a stage runs through the plain Dagger API: which container they ran in.

The API's client keeps no trace of what a stage builds, but an error carries the
query that failed: the chain of calls from which the container's own can be cut
out, before the failing command or with it.
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
class FailedExec:
    """A command that failed, and the chain of calls that it was part of: ``parts[at]`` is the command."""

    parts: Sequence[Part]
    at: int

    def query(self, when: Literal["before", "after"]) -> str:
        """The query for the ID of the container that the command began in, or of what it left."""
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


def failed_exec(document: graphql.DocumentNode, command: Sequence[str]) -> FailedExec | None:
    """Where in a query a command is; None if it is in another one, whose result this one was given."""
    from graphql import FieldNode, value_from_ast_untyped

    parts = _chain(document)
    found = [
        (number, [value_from_ast_untyped(arg.value) for arg in part.arguments if arg.name.value == "args"])
        for number, part in enumerate(parts)
        if isinstance(part, FieldNode) and part.name.value == "withExec"
    ]
    same = [number for number, args in found if args == [list(command)]]
    # An entry point, or variables that were put in, make the command another one than was asked for.
    at = same[0] if same else found[0][0] if len(found) == 1 else None
    return None if at is None else FailedExec(parts=parts, at=at)


def exec_error(error: BaseException) -> dagger.ExecError | None:
    """The failed command among what a stage raised, which may be a group of several errors."""
    import dagger

    if isinstance(error, dagger.ExecError):
        return error
    inner: Sequence[BaseException] = getattr(error, "exceptions", ())
    return next((found for each in inner if (found := exec_error(each)) is not None), None)


async def container_of(
    failed: FailedExec, of: dagger.Container, when: Literal["before", "after"]
) -> dagger.Container:
    """The container that the command began in, or with what it left: the engine keeps that only if asked."""
    import gql

    # The client has no public way to send a query that was not built call by call.
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
