"""Asks for the approval that a stage needs and shows what the stage would change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.context.registry import operations_of
from rondel.errors import RondelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rondel.pipeline import Stage
    from rondel.record import Approval
    from rondel.runner.journal import Journal
    from rondel.settings import Settings


def approve(
    stage: Stage, settings: Settings, journal: Journal, environ: Mapping[str, str], started_by: str | None
) -> Approval:
    """Get the approval for a stage that declares one; blocks while a person at the terminal decides.

    Raises WaitingForApproval without an approval.
    """
    from rondel.record.folder import short_path
    from rondel.registry.approval import decide, terminal_prompt
    from rondel.registry.project_lineage import whoami
    from rondel.runner import repeat_commands

    ask = None
    if settings.approve_by is None and not settings.ci:
        ask = terminal_prompt()
    if ask is not None:
        journal.pause()
    file, here = short_path(settings.root / journal.capsule.file), settings.machine_arguments()
    return decide(
        stage.name,
        stage.approval or "",
        approve_by=settings.approve_by,
        who=whoami(settings.root, started_by),
        changes=changes(stage, settings.root, environ, settings.tracking_uri),
        ask=ask,
        retry_command=repeat_commands.repeat(journal.capsule, file=file, here=here),
        approve_command=repeat_commands.approve(journal.capsule, file=file, here=here),
    )


def changes(stage: Stage, root: Path, environ: Mapping[str, str], uri: str | None) -> list[str]:
    """What the stage would do to which model, read from the literal calls in its function's source."""
    from rondel.registry.champion import champion_version

    lines = []
    for change in (each for operation in operations_of(stage.calls) for each in operation.affects()):
        action, reference = change.action, change.reference
        model, _, alias = reference.partition("@")
        try:
            champion = champion_version(root, environ, model, uri=uri)
            candidate = champion_version(root, environ, model, alias=alias or "challenger", uri=uri)
        except RondelError as error:
            lines.append(f"{action} {reference} (its versions are unknown: {error.what})")
            continue
        known = [("champion", champion), (alias or "challenger", candidate)]
        versions = ", ".join(
            f"{name} is version {number}" if number else f"no {name} yet" for name, number in known
        )
        lines.append(f"{action} {reference} ({versions})")
    return lines
