"""What a stage's function calls on its context, read from its source.

A bad rule or an unknown dvc stage has to be reported before anything starts,
though it stands inside a function that has not run yet. So the source is read
for calls such as ``ctx.dvc("train")``; what they pass as literals is checked.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import TYPE_CHECKING, Any, get_args

from rondel.pipeline.stage import SourceLocation, StageBody, StageCall, UseKind

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = frozenset(get_args(UseKind))


def find_calls(body: StageBody) -> tuple[StageCall, ...]:
    """The context calls in the source of ``body``, in the order of the source.

    Nothing is found where there is no source (a prompt, a compiled module).
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
        (call, call.func.attr)
        for call in _calls(function)
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == context
        and call.func.attr in KINDS
    ]
    calls.sort(key=lambda found: (found[0].lineno, found[0].col_offset))
    return tuple(_use(call, kind, SourceLocation(file, first + call.lineno - 1)) for call, kind in calls)


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    return (child for child in ast.walk(node) if isinstance(child, ast.Call))


def _use(call: ast.Call, kind: str, place: SourceLocation) -> StageCall:
    literal = True
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for argument in call.args:
        try:
            positional.append(ast.literal_eval(argument))
        except ValueError:
            literal = False
    for keyword in call.keywords:
        try:
            value = ast.literal_eval(keyword.value)
        except ValueError:
            literal = False
            continue
        if keyword.arg is None:
            literal = False
        else:
            named[keyword.arg] = value
    if kind == "gate":
        rules = [rule for rule in positional if isinstance(rule, str)]
        return StageCall(
            kind="gate",
            name=str(named.get("model") or ""),
            details={"rules": rules, **{k: v for k, v in named.items() if k != "model"}},
            place=place,
            literal=literal,
        )
    name = positional[0] if positional and isinstance(positional[0], str) else ""
    if kind != "container" and not name:
        literal = False
    return StageCall(kind=kind, name=name, details=named, place=place, literal=literal)  # type: ignore[arg-type]
