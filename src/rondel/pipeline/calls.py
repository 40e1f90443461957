"""Finds the context methods that a stage's function calls, by reading its source.

This reports a bad rule or an unknown DVC stage before anything starts, although
the call is in a function that has not run yet: calls such as
``ctx.dvc("train")`` are found in the source, and their literal arguments are
checked.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

from rondel.pipeline.stage import SourceLocation, StageBody, StageCall


def find_calls(body: StageBody) -> tuple[StageCall, ...]:
    """The calls of context methods in the source of ``body``, in source order.

    Empty if there is no source (interactive input, a compiled module).
    """
    try:
        lines, first = inspect.getsourcelines(body)
        tree = ast.parse(textwrap.dedent("".join(lines)))
        file = inspect.getsourcefile(body) or "?"
    except (OSError, TypeError, SyntaxError):
        return ()
    function = tree.body[0]
    if not isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef) or not function.args.args:
        return ()
    context = function.args.args[0].arg
    calls = [
        (node, node.func.attr)
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == context
    ]
    calls.sort(key=lambda found: (found[0].lineno, found[0].col_offset))
    return tuple(_call(node, kind, SourceLocation(file, first + node.lineno - 1)) for node, kind in calls)


def _call(node: ast.Call, kind: str, place: SourceLocation) -> StageCall:
    literal = True
    args: list[Any] = []
    details: dict[str, Any] = {}
    for argument in node.args:
        try:
            args.append(ast.literal_eval(argument))
        except ValueError:
            literal = False
    for keyword in node.keywords:
        try:
            value = ast.literal_eval(keyword.value)
        except ValueError:
            literal = False
            continue
        if keyword.arg is None:
            literal = False
        else:
            details[keyword.arg] = value
    first = node.args[0] if node.args else None
    name = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
    return StageCall(kind=kind, name=name, args=tuple(args), details=details, place=place, literal=literal)
