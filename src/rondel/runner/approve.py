"""Asks for the approval that a stage needs, showing what the stage would change."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import TYPE_CHECKING

from rondel.errors import RondelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.pipeline import Stage
    from rondel.registry.approval import Approval
    from rondel.runner.journal import Journal
    from rondel.settings import Settings

_ACTIONS = frozenset({"promote", "deploy", "register"})


def approve(
    stage: Stage, settings: Settings, journal: Journal, environ: Mapping[str, str], started_by: str | None
) -> Approval:
    """The approval of a stage that declares one; blocks while a person at the terminal decides.

    Raises WaitingForApproval when nobody gives it.
    """
    from rondel.record.folder import shown
    from rondel.registry.approval import decide, terminal
    from rondel.registry.lineage_sources import whoami
    from rondel.runner import repeat_commands

    ask = None
    if settings.approve_by is None and not settings.ci:
        ask = terminal()
    if ask is not None:
        journal.pause()
    file, here = shown(settings.root / journal.capsule.file), settings.machine_arguments()
    return decide(
        stage.name,
        stage.approval or "",
        approve_by=settings.approve_by,
        who=whoami(settings.root, started_by),
        changes=changes(stage, settings.root, environ, settings.tracking_uri),
        ask=ask,
        again=repeat_commands.repeat(journal.capsule, file=file, here=here),
        approving=repeat_commands.approve(journal.capsule, file=file, here=here),
    )


def changes(stage: Stage, root: Path, environ: Mapping[str, str], uri: str | None) -> list[str]:
    """What the stage's function would do to which model, as far as its source says it literally."""
    from rondel.registry.champion import champion_version

    lines = []
    for action, reference in calls(stage):
        model, _, alias = reference.partition("@")
        try:
            champion = champion_version(root, environ, model, uri=uri)
            candidate = champion_version(root, environ, model, alias=alias or "challenger", uri=uri)
        except RondelError as error:
            lines.append(f"{action} {reference} (its versions are not known: {error.what})")
            continue
        known = [("champion", champion), (alias or "challenger", candidate)]
        told = ", ".join(
            f"{name} is version {number}" if number else f"no {name} yet" for name, number in known
        )
        lines.append(f"{action} {reference} ({told})")
    return lines


def calls(stage: Stage) -> list[tuple[str, str]]:
    """The calls of ``ctx.promote`` and the like in the stage's source: action and model."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(stage.body)))
    except (OSError, TypeError, SyntaxError):
        return []
    return [
        (node.func.attr, node.args[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _ACTIONS
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ]
