"""One run, from a plan to its capsule."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rondel.data.runtree import run_tree
from rondel.errors import Interrupted, RondelError, WaitingForApproval
from rondel.record import SCHEMA_VERSION, Capsule, Run, RunFolder, new_id
from rondel.record.redact import secret_values
from rondel.record.snapshot import keep_code
from rondel.runner.capsule_facts import allowed_environment, host, recorded_options, secret_names
from rondel.runner.decide import forecast
from rondel.runner.journal import Journal, now
from rondel.runner.restore import serve
from rondel.runner.success import note_cached, note_taken_over

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rondel.pipeline import Plan
    from rondel.record import CiJob, Observer, StageRecord
    from rondel.record.capsule import RunState
    from rondel.runner.interfaces import OpenServices
    from rondel.runner.keys import Decision
    from rondel.runner.project import Project
    from rondel.runner.resume import Resumption
    from rondel.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a run is made from.

    ``ci`` is the CI job around it, ``branch`` the job's branch or tag, which git
    does not know in a CI checkout, and ``started_by`` the person who started it.
    """

    pipeline: str
    file: str
    plan: Plan
    settings: Settings
    project: Project
    environ: Mapping[str, str]
    ci: CiJob | None = None
    branch: str | None = None
    started_by: str | None = None
    arguments: tuple[str, ...] = ()
    invocation: tuple[str, ...] = ()
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dvc_stages: tuple[str, ...] = ()
    resumption: Resumption | None = None


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a run: its capsule, where it lies, and the error that decides the exit code."""

    capsule: Capsule
    folder: RunFolder
    error: RondelError | None = None

    @property
    def exit_code(self) -> int:
        """0, or the code of the first failure."""
        return self.error.exit_code if self.error else 0


def run_plan(
    request: Request, observer: Observer, choose_services: Callable[[], tuple[str, OpenServices]]
) -> Result:
    """Run a plan, and leave a capsule whatever happens.

    ``choose_services`` is asked only when a stage has to run: for the engine's
    kind and the opener of services. Errors of the run are in the result;
    those that precede it (nothing was started) are raised.
    """
    settings, project = request.settings, request.project
    done = request.resumption.done if request.resumption else {}
    kept = request.resumption.kept if request.resumption else frozenset()
    expected = forecast(
        request.plan, project, request.overrides, use_cache=settings.cache, done=done, kept=kept
    )
    folder = RunFolder.of(settings.root, new_id())
    hidden = secret_values(request.environ, settings.secrets)
    capsule = _capsule(request, folder)
    git = project.git()
    git = keep_code(folder, settings.root, replace(git, branch=git.branch or request.branch), hidden)
    journal = Journal(replace(capsule, git=git), folder, request.plan, observer)
    journal.hide(hidden)
    project.tree = run_tree(folder.path)
    if all(decision.idle for decision in expected.values()):
        return _nothing_to_do(request, journal, expected, done)
    return _do(request, journal, choose_services)


def _nothing_to_do(
    request: Request, journal: Journal, expected: Mapping[str, Decision], done: Mapping[str, StageRecord]
) -> Result:
    for planned in request.plan.stages:
        name, decision = planned.name, expected[planned.name]
        if name in done:
            note_taken_over(journal, done[name], journal.capsule.resumes, save=False)
        else:
            serve(
                planned.stage,
                decision,
                project=request.project,
                settings=request.settings,
                folder=journal.folder.path,
                overrides=request.overrides.get(name, {}),
            )
            note_cached(journal, name, decision, save=False)
    request.project.save()
    journal.close(state="succeeded", exit_code=0)
    return Result(capsule=journal.capsule, folder=journal.folder)


def _do(
    request: Request, journal: Journal, choose_services: Callable[[], tuple[str, OpenServices]]
) -> Result:
    import anyio

    from rondel.runner.execute import Execution
    from rondel.runner.signals import single

    began = time.time()
    lock = journal.folder.hold()
    journal.save()
    error: RondelError | None = None
    try:
        kind, open_services = choose_services()
        execution = Execution(
            plan=request.plan,
            settings=request.settings,
            project=request.project,
            journal=journal,
            run=_run(request, journal, kind),
            overrides=request.overrides,
            done=request.resumption.done if request.resumption else {},
            kept=request.resumption.kept if request.resumption else frozenset(),
        )
        anyio.run(execution.execute, open_services)
        error = next(iter(execution.failures.values()), None)
    except RondelError as raised:
        error = raised
    except BaseException as raised:
        # A defect or ^C outside of the stages: the capsule says so, too, before it goes on.
        journal.close(state="failed", exit_code=1, error=f"{type(raised).__name__}: {raised}")
        if isinstance(raised, Exception):
            found = single(raised)
            if isinstance(found, RondelError):
                return _result(journal, found)
            raise found from None
        raise
    finally:
        request.project.save()
        lock.close()
    result = _result(journal, error)
    _trim(request.settings, began)
    return result


def _trim(settings: Settings, began: float) -> None:
    """Keep the records of the project to their size; the runs that stand for a stage's success stay."""
    from rondel.cache.entries import kept_objects
    from rondel.cache.objects import drop_unused

    drop_unused(settings.root, kept_objects(settings.root), before=began)
    if settings.runs_megabytes:
        from rondel.cache.entries import cached_runs
        from rondel.record.prune import choose, survey

        budget = settings.runs_megabytes * 10**6
        for run in choose(survey(settings.root), budget=budget, needed=cached_runs(settings.root)):
            RunFolder.of(settings.root, run).remove()


def _state(error: RondelError | None) -> RunState:
    if error is None:
        return "succeeded"
    if isinstance(error, Interrupted):
        return "interrupted"
    return "waiting" if isinstance(error, WaitingForApproval) else "failed"


def _result(journal: Journal, error: RondelError | None) -> Result:
    state = _state(error)
    # A cached stage's image is that of the run which made its result.
    images = [each.image for each in journal.capsule.stages if each.image and each.state != "cached"]
    journal.close(
        state=state,
        exit_code=error.exit_code if error else 0,
        error=error.render() if error else None,
        image=images[-1] if images else None,
    )
    return Result(capsule=journal.capsule, folder=journal.folder, error=error)


def _capsule(request: Request, folder: RunFolder) -> Capsule:
    settings = request.settings
    return Capsule(
        schema_version=SCHEMA_VERSION,
        id=folder.path.name,
        state="running",
        pipeline=request.pipeline,
        file=request.file,
        created=now(),
        arguments=list(request.arguments),
        invocation=list(request.invocation),
        targets=list(request.plan.selection.targets),
        overrides=dict(settings.params),
        settings=dict(settings.sources),
        options=recorded_options(settings),
        resumes=request.resumption.run if request.resumption else None,
        reproduces=settings.reproduces,
        host=host(),
        ci=request.ci,
        environment=allowed_environment(request.environ, settings.environment, settings.secrets),
        secrets=secret_names(request.environ, settings.secrets),
    )


def _run(request: Request, journal: Journal, engine: str) -> Run:
    capsule = journal.capsule
    return Run(
        id=capsule.id,
        root=request.settings.root,
        folder=journal.folder.path,
        created=capsule.created,
        targets=request.plan.selection.targets,
        dvc_stages=request.dvc_stages,
        git_commit=capsule.git.commit,
        git_dirty=capsule.git.dirty,
        git_branch=capsule.git.branch,
        git_remote=capsule.git.remote_url,
        engine=engine,
        ci=request.settings.ci,
        started_by=request.started_by,
    )
