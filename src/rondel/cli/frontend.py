"""What a run shows, reports and pushes: on a person's machine, and in a CI job.

The pipeline is the same in both.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from pathlib import Path

    from rondel.ci.guarded_streams import Budget
    from rondel.ci.model import CiContext
    from rondel.ci.provider import Provider
    from rondel.errors import RondelError
    from rondel.reports.console import PlainConsole
    from rondel.runner.run import Result
    from rondel.secrets.masker import Masker
    from rondel.settings import Settings


def open_frontend(root: Path, environ: Mapping[str, str]) -> Frontend:
    """The frontend of a run in the project at ``root``."""
    from rondel.ci.providers import detect

    context = detect(environ)
    return Frontend(root) if context is None else CiFrontend(root, context)


class Frontend:
    """The frontend outside of CI: writes the reports."""

    context: CiContext | None = None
    """The CI job."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root

    def restrict(self, settings: Settings, environ: MutableMapping[str, str]) -> Settings:  # noqa: ARG002
        """Begin, and return the settings that this run may use."""
        if settings.commit:
            from rondel.ci.commit.plan import check_commit

            check_commit(settings, self.context)
        return settings

    def console(self, settings: Settings) -> PlainConsole:
        """The console that shows the run's progress."""
        from rondel.reports.console import make_console

        return make_console(verbose=settings.verbose, quiet=settings.quiet, ci=settings.ci)

    def finish(self, result: Result, settings: Settings) -> Result:
        """The run has ended: commit its results with ``--commit``, and write the reports."""
        from rondel.reports.report_files import publish

        if settings.commit and result.error is None:
            result = _committed(result, settings, self.context)
        publish(result.capsule, settings.root, result.folder.path)
        return result

    def refused(self, error: RondelError) -> None:
        """The run could not start."""

    def last_lines(self, result: Result) -> None:
        """Print after everything else."""

    def close(self) -> None:
        """Release what the frontend holds."""


class CiFrontend(Frontend):
    """The frontend of a CI job.

    It guards the standard streams, uses the console of the CI system, also
    reports runs that could not start, and writes a note on the merge request.
    """

    context: CiContext

    def __init__(self, root: Path, context: CiContext) -> None:
        from rondel.ci.providers import provider_of

        super().__init__(root)
        self.context = context
        self._provider: Provider = provider_of(context)
        self._stack = ExitStack()
        self._budget: Budget | None = None
        self._masker: Masker | None = None

    def restrict(self, settings: Settings, environ: MutableMapping[str, str]) -> Settings:
        """Guard the streams, and withhold secrets from a fork."""
        from rondel.ci.guarded_streams import guarded_streams
        from rondel.ci.trust import restrict
        from rondel.secrets.masker import Masker
        from rondel.secrets.values import secret_values

        hidden = secret_values(environ, settings.secrets)
        self._masker = Masker(hidden)
        self._budget = self._stack.enter_context(guarded_streams(hidden))
        self._environ = dict(environ)
        settings, gone = restrict(settings, self.context, environ)
        for name in gone:
            del environ[name]
        if self.context.fork:
            print("this is a fork's code: no secrets, nothing is pushed, MLflow stays in this job")
        return super().restrict(settings, environ)

    def console(self, settings: Settings) -> PlainConsole:
        """The console of the CI system. This also removes the reports of an earlier run."""
        from rondel.reports.report_files import withdraw

        withdraw(settings.root)
        make = self._provider.console
        return make(settings) if make is not None else super().console(settings)

    def finish(self, result: Result, settings: Settings) -> Result:
        """Write the reports and the note on the merge request."""
        if self._budget is not None:
            self._budget.end()
        result = super().finish(result, settings)
        from rondel.ci.note import post_note
        from rondel.reports.report_files import FOLDER

        report = (settings.root / FOLDER / "report.md").read_text(encoding="utf-8")
        done = post_note(self.context, self._environ, report)
        if done:
            print(done)
        return result

    def refused(self, error: RondelError) -> None:
        """Report the error where the CI system looks for reports."""
        if self._budget is not None:
            self._budget.end()
        if self.root is not None:
            from rondel.reports.report_files import publish_error

            publish_error(error, self.root, self._masker)

    def last_lines(self, result: Result) -> None:
        """Print the report's address, and the command that reproduces a failed job elsewhere."""
        from rondel.cli.main import COMMANDS
        from rondel.reports.report_files import FOLDER, PAGE

        page, folder = f"{FOLDER}/{PAGE}", result.capsule.git.prefix
        address = self._provider.artifact
        shown = address(self.context, f"{folder}/{page}" if folder else page) if address is not None else None
        if shown:
            print(f"report: {shown}", file=sys.stderr)
        if result.error is not None and "reproduce" in COMMANDS:
            from rondel.runner.repeat_commands import reproduce

            print(f"on your machine: {reproduce(result.capsule, anywhere=True)}", file=sys.stderr)

    def close(self) -> None:
        """Restore the standard streams."""
        self._stack.close()


def _committed(result: Result, settings: Settings, context: CiContext | None) -> Result:
    from rondel.ci.commit.plan import commit_run
    from rondel.errors import RondelError

    try:
        done = commit_run(result.capsule, settings, context)
    except RondelError as error:
        capsule = replace(result.capsule, state="failed", exit_code=error.exit_code, error=error.render())
        result.folder.save(capsule)
        return replace(result, capsule=capsule, error=error)
    print(done)
    return result
