"""Promotes a version of a registered model."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rondel.operations.runtime import StageRuntime
    from rondel.registry.promote import AliasChange


async def promote_version(
    runtime: StageRuntime, reference: str, *, to: str, force: bool, reason: str
) -> AliasChange:
    """Move the alias ``to`` to the version that ``reference`` names.

    Raises GateFailed with every unmet condition, and TrackingUnavailable.
    """
    from anyio import to_thread

    from rondel.registry.backends import registry_of
    from rondel.registry.project_lineage import whoami
    from rondel.registry.promote import promote
    from rondel.tracking import TrackingClient

    tracking = runtime.tracking("promote")
    runtime.recorder.step(f"promoting {reference} to {to}")
    who = await to_thread.run_sync(whoami, runtime.run.root, runtime.run.started_by)
    async with TrackingClient(tracking.endpoint) as client:
        changed = await promote(
            registry_of(client),
            reference,
            root=runtime.run.root,
            environ=os.environ,
            who=who,
            to=to,
            force=force,
            reason=reason or _reason(runtime),
            remote=runtime.settings.remote,
            run=runtime.run.id,
        )
    state = "is already" if changed.entry is None else "is now"
    runtime.recorder.output(f"{changed.model}@{to} {state} version {changed.new}")
    return changed


def _reason(runtime: StageRuntime) -> str:
    """The default reason for the alias log: the run, and who approved it."""
    approval = runtime.recorder.record.approval
    return f"run {runtime.run.id}" + (f", {approval.sentence}" if approval else "")
