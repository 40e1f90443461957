"""``python ci/main.py …``: the command line of a pipeline."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import parse, show_error
from rondel.cli.frontend import Frontend, open_frontend
from rondel.cli.process import repair_streams, run_guarded
from rondel.errors import ConfigurationError
from rondel.pipeline import Selection
from rondel.pipeline.source import can_restart, check_sources
from rondel.runner.prepare import prepare_run
from rondel.settings import find_root, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rondel.errors import RondelError
    from rondel.pipeline import Pipeline
    from rondel.record import Capsule, StageRecord
    from rondel.runner.interfaces import OpenServices
    from rondel.runner.prepared import PreparedRun
    from rondel.runner.run import Result
    from rondel.settings import Settings


def main(pipeline: Pipeline, argv: Sequence[str]) -> int:
    """Run ``pipeline`` with these arguments; return the exit code."""
    repair_streams()
    frontend = Frontend()

    def body() -> int:
        nonlocal frontend
        root = _root(pipeline)
        # Restart only a program that was started for this run.
        check_sources(root, restart=list(argv) == sys.argv[1:] and can_restart(root))
        frontend = open_frontend(root, os.environ)
        return _main(pipeline, argv, frontend)

    def show(error: RondelError) -> None:
        try:
            frontend.refused(error)
        except OSError as failure:
            print(f"no reports: {failure}", file=sys.stderr)
        show_error(error)

    try:
        return run_guarded(body, show)
    finally:
        frontend.close()


def _root(pipeline: Pipeline) -> Path:
    return find_root(Path(pipeline.place.file).parent if Path(pipeline.place.file).exists() else Path.cwd())


def _main(pipeline: Pipeline, argv: Sequence[str], frontend: Frontend) -> int:
    arguments = parse(argv, program=_program(pipeline))
    settings = load_settings(_root(pipeline), arguments.flags, os.environ)
    selection = Selection(targets=arguments.targets, only=settings.only, from_=settings.from_)
    resumed = None
    if settings.resume is not None:
        from rondel.runner.resume import resumed_settings

        resumed = _resumed(settings, pipeline)
        settings, selection = resumed_settings(settings, resumed, arguments.targets)
    # After resuming, so that the restrictions of a fork also apply to a record's settings.
    settings = frontend.restrict(settings, os.environ)
    if settings.list_stages:
        from rondel.reports.plan import show_stages

        print("\n".join(show_stages(pipeline.stages())))
        return 0
    if settings.interactive:
        from rondel.runner.interactive import check_terminal

        check_terminal()
    job = frontend.context
    prepared = prepare_run(
        pipeline,
        selection,
        settings,
        os.environ,
        file=_relative(pipeline.place.file, settings.root),
        invocation=(Path(sys.argv[0]).name, *argv),
        ci=job.recorded() if job is not None else None,
        branch=job.ref if job is not None else None,
        started_by=job.started_by if job is not None else None,
        resumed=resumed,
    )
    if settings.dry_run:
        return _show_plan(prepared)
    return _run(prepared, frontend)


def _resumed(settings: Settings, pipeline: Pipeline) -> Capsule:
    from rondel.runner.resume import run_to_resume

    name = settings.resume or ""
    if name in {each for stage in pipeline.stages() for each in (stage.name, stage.base)}:
        raise ConfigurationError(
            f"--resume takes a run, but {name!r} is a stage", hint=f"put the stage first: {name} --resume"
        )
    return run_to_resume(settings.root, name)


def _program(pipeline: Pipeline) -> str:
    file = Path(pipeline.place.file)
    try:
        return f"python {file.resolve().relative_to(Path.cwd())}"
    except (ValueError, OSError):
        return f"python {file}"


def _show_plan(prepared: PreparedRun) -> int:
    from rondel.reports.plan import show_plan
    from rondel.runner.decide import forecast

    expected = forecast(prepared)
    idle = all(decision.idle for decision in expected.values())
    engine = "not needed" if idle else _engine(prepared.settings)
    print("\n".join(show_plan(prepared, expected, engine=engine)))
    return 0


def _run(prepared: PreparedRun, frontend: Frontend) -> int:
    from rondel.record.folder import short_path
    from rondel.reports.report_files import PAGE
    from rondel.runner.run import run_plan

    settings = prepared.settings
    console = frontend.console(settings)
    try:
        result = run_plan(prepared, console, lambda: _services(settings))
    finally:
        console.stop()
    if _judged(result, settings):
        from rondel.reports.report_files import write_gate_reports

        write_gate_reports(result.capsule, result.folder.path)
    result = frontend.finish(result, settings)
    console.finish(result.capsule, short_path(result.folder.path / PAGE))
    if result.error is not None:
        _explain(result, prepared)
    frontend.last_lines(result)
    return result.exit_code


def _judged(result: Result, settings: Settings) -> bool:
    """Whether there are verdicts to report: new ones, or any in CI, which collects reports."""
    return any(
        record.verdicts and (settings.ci or record.state != "cached") for record in result.capsule.stages
    )


def _explain(result: Result, prepared: PreparedRun) -> None:
    from rondel.record.folder import short_path
    from rondel.runner.repeat_commands import follow_ups

    if result.error is not None:
        show_error(result.error)
        if (capsule := short_path(result.folder.capsule)) not in result.error.render():
            print(f"capsule: {capsule}", file=sys.stderr)
    print("\n".join(follow_ups(prepared, result.capsule)), file=sys.stderr)


def _relative(file: str, root: Path) -> str:
    path = Path(file).resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _engine(settings: Settings) -> str:
    from rondel.engines.choice import describe_engine, rondel_executable

    return describe_engine(settings, os.environ, rondel_executable())


def _services(settings: Settings) -> tuple[str, OpenServices]:
    from rondel.engines.choice import choose_engine, rondel_executable
    from rondel.runner.services import services_on

    choice = choose_engine(settings, os.environ, rondel_executable())
    return choice.engine, services_on(choice, _gate_files)


def _gate_files(record: StageRecord, folder: Path) -> Mapping[str, bytes]:
    from rondel.reports.report_files import gate_files

    return gate_files(record, folder)
