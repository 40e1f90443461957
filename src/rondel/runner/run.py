"""Executes a prepared run and writes its capsule."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rondel.data.run_tree import run_tree
from rondel.errors import Interrupted, RondelError, WaitingForApproval
from rondel.record import SCHEMA_VERSION, Capsule, Run, RunFolder, new_id
from rondel.record.snapshot import keep_code
from rondel.runner.capsule_facts import allowed_environment, host, recorded_options, secret_names
from rondel.runner.decide import forecast
from rondel.runner.journal import Journal, now
from rondel.runner.restore import restore_results
from rondel.runner.success import note_cached, note_resumed
from rondel.secrets.masker import Masker
from rondel.secrets.values import secret_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rondel.record import Observer, StageRecord
    from rondel.record.capsule import RunState
    from rondel.runner.decide import Decision
    from rondel.runner.interfaces import OpenServices
    from rondel.runner.prepared import PreparedRun
    from rondel.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a run: its capsule and folder, and the error that decides the exit code."""

    capsule: Capsule
    folder: RunFolder
    error: RondelError | None = None

    @property
    def exit_code(self) -> int:
        """0, or the code of the first failure."""
        return self.error.exit_code if self.error else 0


def run_plan(
    prepared: PreparedRun, observer: Observer, choose_services: Callable[[], tuple[str, OpenServices]]
) -> Result:
    """Run a plan; always leaves a capsule.

    ``choose_services`` returns the engine's kind and the opener of services; it
    is called only if a stage has to run. The result contains the run's error.
    Raises errors that occur before anything starts.
    """
    settings, project = prepared.settings, prepared.project
    done = prepared.resumption.done
    expected = forecast(prepared)
    folder = RunFolder.of(settings.root, new_id())
    hidden = secret_values(prepared.environ, settings.secrets)
    capsule = _capsule(prepared, folder)
    git = project.git()
    git = keep_code(folder, settings.root, replace(git, branch=git.branch or prepared.branch), Masker(hidden))
    journal = Journal(replace(capsule, git=git), folder, prepared.plan, observer)
    journal.hide(hidden)
    project.tree = run_tree(folder.path)
    project.follow(lambda: journal.capsule.stages)
    if all(decision.idle for decision in expected.values()):
        return _reuse_all(prepared, journal, expected, done)
    return _execute(prepared, journal, choose_services)


def _reuse_all(
    prepared: PreparedRun, journal: Journal, expected: Mapping[str, Decision], done: Mapping[str, StageRecord]
) -> Result:
    for planned in prepared.plan.stages:
        name, decision = planned.name, expected[planned.name]
        if name in done:
            note_resumed(journal, done[name], journal.capsule.resumes, save=False)
        else:
            restore_results(
                planned.stage,
                decision,
                project=prepared.project,
                settings=prepared.settings,
                folder=journal.folder.path,
                overrides=prepared.overrides.get(name, {}),
            )
            note_cached(journal, name, decision, save=False)
    prepared.project.save()
    journal.close(state="succeeded", exit_code=0)
    return Result(capsule=journal.capsule, folder=journal.folder)


def _execute(
    prepared: PreparedRun, journal: Journal, choose_services: Callable[[], tuple[str, OpenServices]]
) -> Result:
    import anyio

    from rondel.runner.execute import Execution
    from rondel.runner.signals import unwrap

    began = time.time()
    lock = journal.folder.lock()
    journal.save()
    error: RondelError | None = None
    try:
        kind, open_services = choose_services()
        execution = Execution(
            plan=prepared.plan,
            settings=prepared.settings,
            project=prepared.project,
            journal=journal,
            run=_run(prepared, journal, kind),
            overrides=prepared.overrides,
            done=prepared.resumption.done,
            kept=prepared.resumption.kept,
        )
        anyio.run(execution.execute, open_services)
        error = next(iter(execution.failures.values()), None)
    except RondelError as raised:
        error = raised
    except BaseException as raised:
        # A bug, or ^C outside of the stages: record it before raising it.
        journal.close(state="failed", exit_code=1, error=f"{type(raised).__name__}: {raised}")
        if isinstance(raised, Exception):
            cause = unwrap(raised)
            if isinstance(cause, RondelError):
                return _result(journal, cause)
            raise cause from None
        raise
    finally:
        prepared.project.save()
        lock.close()
    result = _result(journal, error)
    _prune(prepared.settings, began)
    return result


def _prune(settings: Settings, began: float) -> None:
    """Remove old runs above the size limit, except those that the stage cache refers to."""
    from rondel.cache.entries import referenced_objects
    from rondel.cache.objects import remove_unused

    remove_unused(settings.root, referenced_objects(settings.root), before=began)
    if settings.runs_megabytes:
        from rondel.cache.entries import cached_runs
        from rondel.record.prune import runs_to_remove, runs_with_sizes

        budget = settings.runs_megabytes * 10**6
        for run in runs_to_remove(
            runs_with_sizes(settings.root), budget=budget, needed=cached_runs(settings.root)
        ):
            RunFolder.of(settings.root, run).remove()


def _state(error: RondelError | None) -> RunState:
    if error is None:
        return "succeeded"
    if isinstance(error, Interrupted):
        return "interrupted"
    return "waiting" if isinstance(error, WaitingForApproval) else "failed"


def _result(journal: Journal, error: RondelError | None) -> Result:
    state = _state(error)
    # The image of a cached stage belongs to the run that made its result.
    images = [each.image for each in journal.capsule.stages if each.image and each.state != "cached"]
    journal.close(
        state=state,
        exit_code=error.exit_code if error else 0,
        error=error.render() if error else None,
        image=images[-1] if images else None,
    )
    return Result(capsule=journal.capsule, folder=journal.folder, error=error)


def _capsule(prepared: PreparedRun, folder: RunFolder) -> Capsule:
    settings = prepared.settings
    return Capsule(
        schema_version=SCHEMA_VERSION,
        id=folder.path.name,
        state="running",
        pipeline=prepared.pipeline,
        file=prepared.file,
        created=now(),
        arguments=list(prepared.arguments),
        invocation=list(prepared.invocation),
        targets=list(prepared.plan.selection.targets),
        overrides=dict(settings.params),
        settings=dict(settings.sources),
        options=recorded_options(settings),
        resumes=prepared.resumption.run,
        reproduces=settings.reproduces,
        host=host(),
        ci=prepared.ci,
        environment=allowed_environment(prepared.environ, settings.environment, settings.secrets),
        secrets=secret_names(prepared.environ, settings.secrets),
    )


def _run(prepared: PreparedRun, journal: Journal, engine: str) -> Run:
    capsule = journal.capsule
    return Run(
        id=capsule.id,
        root=prepared.settings.root,
        folder=journal.folder.path,
        created=capsule.created,
        targets=prepared.plan.selection.targets,
        dvc_stages=prepared.dvc_stages,
        git_commit=capsule.git.commit,
        git_dirty=capsule.git.dirty,
        git_branch=capsule.git.branch,
        git_remote=capsule.git.remote_url,
        engine=engine,
        ci=prepared.settings.ci,
        started_by=prepared.started_by,
    )
