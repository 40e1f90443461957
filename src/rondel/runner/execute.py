"""Runs the stages of a plan, concurrently where possible, and records each checkpoint."""

from __future__ import annotations

import math
import os
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from rondel.errors import DataError, Interrupted, RondelError, WaitingForApproval
from rondel.record.folder import short_path
from rondel.record.snapshot import keep_code
from rondel.runner.attempt import attempt_stage
from rondel.runner.capsule_facts import processors
from rondel.runner.decide import Decision, decide_stage
from rondel.runner.interactive import Intervention
from rondel.runner.journal import now
from rondel.runner.keys import View, key_before, view_before
from rondel.runner.restore import restore_results
from rondel.runner.signals import run_interruptibly
from rondel.runner.stage_errors import stage_error
from rondel.runner.stage_locks import stage_lock
from rondel.runner.success import (
    SUCCEEDED,
    note_cached,
    note_key,
    note_resumed,
    outcome_of,
    save_success,
)
from rondel.secrets.masker import Masker
from rondel.secrets.values import secret_values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from rondel.operations.project import Project
    from rondel.pipeline import Plan, PlannedStage, Stage
    from rondel.record import Approval, Run, StageRecord
    from rondel.runner.interfaces import OpenServices, Services
    from rondel.runner.journal import Journal
    from rondel.settings import Settings


@dataclass(kw_only=True)
class Execution:
    """One run of a plan, with the failures of its stages."""

    plan: Plan
    settings: Settings
    project: Project
    journal: Journal
    run: Run
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    done: Mapping[str, StageRecord] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    failures: dict[str, RondelError] = field(default_factory=dict)
    interrupted: str | None = None
    began: float = field(default_factory=time.time)
    """When the workspace was read: stages see no later edits; see ``save_success``."""

    async def execute(self, open_services: OpenServices) -> None:
        """Run the plan.

        Collects failures of stages in ``failures``, in the order in which they
        happened. Raises errors from before or around the stages.
        """

        async def work() -> None:
            async with open_services(self.run, self.settings, self.journal) as services:
                self.journal.change(engine=services.engine)
                await self._stages(services)

        try:
            await run_interruptibly(work, self._on_signal)
        finally:
            self._mark_unfinished()
        if self.interrupted:
            raise Interrupted(
                f"the run was interrupted by {self.interrupted}",
                hint=f"its capsule: {short_path(self.journal.folder.capsule)}",
            )

    def _on_signal(self, name: str) -> None:
        if self.interrupted is None:
            self.interrupted = name
            self.journal.note(f"{name}: stopping the stages; repeat to stop immediately")

    async def _stages(self, services: Services) -> None:
        self._ended = {planned.name: anyio.Event() for planned in self.plan.stages}
        self._skipped: set[str] = set()
        self._views: dict[str, View] = {}
        self._intervention = Intervention(self.journal)
        slots = self.settings.jobs or processors()
        self._slots = anyio.CapacityLimiter(max(1, slots) if slots else math.inf)
        async with anyio.create_task_group() as group:
            self._group = group
            for planned in self.plan.stages:
                group.start_soon(self._stage_after_needs, services, planned, name=f"stage {planned.name}")

    async def _stage_after_needs(self, services: Services, planned: PlannedStage) -> None:
        try:
            for need in planned.waits_for:
                await self._ended[need].wait()
            states = {need: self.journal.record(need).state for need in planned.waits_for}
            for need, state in states.items():
                if state not in SUCCEEDED:
                    self.journal.checkpoint(planned.name, state="skipped", reason=f"{need} {state}")
                    return
            async with self._slots:
                await self._stage(services, planned)
        finally:
            self._ended[planned.name].set()

    async def _stage(self, services: Services, planned: PlannedStage) -> None:
        name, stage = planned.name, planned.stage
        overrides = self.overrides.get(name, {})
        if name in self.done:
            note_resumed(self.journal, self.done[name], self.journal.capsule.resumes)
            return
        try:
            async with self._stage_lock(stage, overrides) as waited:
                cached = self.settings.cache or name in self.kept
                decision = await anyio.to_thread.run_sync(
                    decide_stage, stage, self.project, overrides, cached
                )
                if decision.idle:
                    restore = partial(
                        restore_results,
                        stage,
                        decision,
                        project=self.project,
                        settings=self.settings,
                        folder=self.run.folder,
                        overrides=overrides,
                    )
                    await anyio.to_thread.run_sync(restore)
                    if waited:
                        decision = replace(decision, reason=f"{decision.reason}, which just finished it")
                    note_cached(self.journal, name, decision)
                    return
                await self._run(services, stage, decision, overrides)
        except RondelError as error:
            self._failed(name, error, Decision(reason=""))
        except OSError as error:
            failure = DataError(f"stage {name!r}: can't restore its results", why=str(error))
            self._failed(name, failure, Decision(reason=""))

    @asynccontextmanager
    async def _stage_lock(self, stage: Stage, overrides: Mapping[str, Any]) -> AsyncIterator[bool]:
        """Wait while another run makes the same result; yields whether it had to wait."""
        key = None
        if stage.pure and self.settings.cache:
            key = await anyio.to_thread.run_sync(key_before, stage, self.project, overrides)
        if key is None:
            yield False
            return

        def on_wait(run: str) -> None:
            holder = f"run {run}" if run else "another run"
            self.journal.note(f"{stage.name}: waiting for {holder} to finish the same stage")

        async with stage_lock(self.run.root, key.digest, self.run.id, on_wait) as waited:
            if waited:
                await anyio.to_thread.run_sync(self.project.invalidate)
            yield waited

    async def _run(
        self, services: Services, stage: Stage, decision: Decision, overrides: Mapping[str, Any]
    ) -> None:
        """Run the stage, or fetch its results, in a container; record how it ended."""
        name = stage.name
        try:
            approval = await self._approval(stage)
        except WaitingForApproval as error:
            # Nothing failed, so independent stages go on. The exit code shows that the run waits.
            self.failures[name] = error
            reason = f"waiting for approval for {stage.approval}"
            self.journal.checkpoint(
                name,
                state="skipped",
                reason=reason,
                awaits_approval=stage.approval,
                error=error.render(),
                cause=error.cause,
            )
            return
        recorder = self.journal.recorder(name)
        reason = approval.sentence if approval else decision.reason
        self.journal.checkpoint(name, state="running", reason=reason, approval=approval, started=now())
        if approval:
            recorder.output(approval.sentence)
        before = await anyio.to_thread.run_sync(key_before, stage, self.project, overrides)
        self._views[name] = await anyio.to_thread.run_sync(view_before, stage, self.project)
        began = anyio.current_time()
        raised: BaseException | None = None
        try:
            await attempt_stage(
                services,
                stage,
                recorder,
                overrides,
                visibility=lambda: self._views[name].visibility,
                on_failure=self._on_failure(stage, services),
            )
        except BaseException as caught:  # noqa: BLE001 - translated below; cancellation is raised again
            raised = caught
        seconds = round(anyio.current_time() - began, 3)
        cancelled = anyio.get_cancelled_exc_class()
        if raised is None:
            state, reason = outcome_of(recorder.record, decision)
            reused_from = decision.cache_entry.run if state == "restored" and decision.cache_entry else None
            self.journal.checkpoint(
                name,
                state=state,
                reason=reason,
                reused_from=reused_from or None,
                finished=now(),
                seconds=seconds,
                error=None,
                cause=None,
            )
            await anyio.to_thread.run_sync(self.project.invalidate)
            save = partial(
                save_success,
                self.journal,
                self.project,
                stage,
                overrides,
                before=before,
                began=self.began,
                workspace=self._views[name].files,
            )
            await anyio.to_thread.run_sync(save)
        elif isinstance(raised, cancelled):
            self.journal.checkpoint(name, state="cancelled", finished=now(), seconds=seconds)
            raise raised
        elif isinstance(raised, Exception):
            failure = stage_error(raised, stage, recorder, self.journal.folder, self._hidden(name))
            if recorder.record.uses:
                with suppress(RondelError):  # the failure may also prevent making the key
                    files = self._views[name].files
                    await anyio.to_thread.run_sync(
                        note_key, self.journal, self.project, stage, overrides, files
                    )
            self._failed(name, failure, decision, seconds=seconds)
        else:
            raise raised

    def _on_failure(
        self, stage: Stage, services: Services
    ) -> Callable[[Exception, Any], Awaitable[bool]] | None:
        """With --interactive: what asks the user when ``stage`` fails."""
        if not self.settings.interactive:
            return None

        async def ask(error: Exception, ctx: Any) -> bool:
            recorder = self.journal.recorder(stage.name)
            failure = stage_error(error, stage, recorder, self.journal.folder, self._hidden(stage.name))
            text = failure.render()
            choice = await self._intervention.ask(stage, text, ctx)
            if choice == "skip":
                self._skipped.add(stage.name)
            if choice != "retry":
                return False
            # The user has probably edited files: read and record them again.
            await services.contexts.refresh()
            await anyio.to_thread.run_sync(self._reread_project)
            self._views[stage.name] = await anyio.to_thread.run_sync(view_before, stage, self.project)
            return True

        return ask

    def _hidden(self, name: str) -> list[str]:
        """The files in the working tree that the stage did not see."""
        visibility = self._views[name].visibility
        hidden = visibility.hidden if visibility else ()
        return sorted(path for path in hidden if (self.run.root / path).exists())

    def _reread_project(self) -> None:
        self.project.invalidate()
        self.began = time.time()
        root, folder = self.settings.root, self.journal.folder
        masker = Masker(secret_values(os.environ, self.settings.secrets))
        git = keep_code(folder, root, self.project.git(), masker)
        self.journal.change(git=git)

    async def _approval(self, stage: Stage) -> Approval | None:
        """The stage's approval; None if it needs none. Raises WaitingForApproval without one."""
        if not stage.approval:
            return None
        from rondel.runner.approve import approve

        return await anyio.to_thread.run_sync(
            approve,
            stage,
            self.settings,
            self.journal,
            os.environ,
            self.run.started_by,
            abandon_on_cancel=True,
        )

    def _failed(self, name: str, error: RondelError, decision: Decision, *, seconds: float = 0.0) -> None:
        self.failures[name] = error
        self.journal.checkpoint(
            name,
            state="failed",
            reason=decision.reason,
            finished=now(),
            seconds=seconds,
            error=error.render(),
            cause=error.cause,
        )
        if not self.settings.keep_going and name not in self._skipped:
            self._group.cancel_scope.cancel()

    def _mark_unfinished(self) -> None:
        for record in self.journal.capsule.stages:
            if record.state == "pending":
                failed = next((f"{name} failed" for name in self.failures), "the run could not start")
                reason = self.interrupted or failed
                self.journal.checkpoint(record.name, state="skipped", reason=reason)
            elif record.state == "running":
                self.journal.checkpoint(record.name, state="cancelled", finished=now())
