"""Where a run's command line meets its surroundings: a laptop's terminal, or a CI job.

The pipeline is the same in both. What differs is what is shown and reported,
what is pushed, and what a fork may do.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from pathlib import Path

    from rondel.ci.detect import CiContext
    from rondel.ci.stream import Budget
    from rondel.errors import RondelError
    from rondel.reports.console import PlainConsole
    from rondel.runner.run import Result
    from rondel.secrets.masker import Masker
    from rondel.settings import Settings

CI_SIGNS = ("CI", "GITLAB_CI", "JENKINS_URL", "GITHUB_ACTIONS")


def open_frontend(root: Path, environ: Mapping[str, str]) -> Frontend:
    """The frontend of a run in the project at ``root``; outside of CI nothing of CI is loaded."""
    if any(environ.get(name) for name in CI_SIGNS):
        from rondel.ci import detect

        context = detect(environ)
        if context is not None:
            return CiFrontend(root, context)
    return Frontend(root)


class Frontend:
    """A laptop's: reports are written, and that is all."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root

    def restrict(self, settings: Settings, environ: MutableMapping[str, str]) -> Settings:  # noqa: ARG002
        """The settings as this run may have them; it also begins the run's frontend."""
        if settings.commit:
            from rondel.ci.giving import check_result_commit

            check_result_commit(settings, self.context)
        return settings

    def console(self, settings: Settings) -> PlainConsole:
        """What shows the run's progress."""
        from rondel.reports.console import make_console

        return make_console(verbose=settings.verbose, quiet=settings.quiet, ci=settings.ci)

    def finish(self, result: Result, settings: Settings) -> Result:
        """The run has ended: give results back if that is wanted, and write the reports."""
        from rondel.reports.report_files import publish

        if settings.commit and result.error is None:
            result = _given_back(result, settings, self.context)
        publish(result.capsule, settings.root, result.folder.path)
        return result

    def refused(self, error: RondelError) -> None:
        """The run could not start."""

    def last_words(self, result: Result) -> None:
        """What stands at the very end."""

    def close(self) -> None:
        """Nothing is left open."""

    @property
    def context(self) -> CiContext | None:
        """The CI job."""
        return None


class CiFrontend(Frontend):
    """A CI job's: guarded streams, folded sections, reports also of runs that could not start, a note."""

    def __init__(self, root: Path, context: CiContext) -> None:
        super().__init__(root)
        self._context = context
        self._stack = ExitStack()
        self._budget: Budget | None = None
        self._masker: Masker | None = None
        self._began = False

    @property
    def context(self) -> CiContext:
        """The CI job."""
        return self._context

    def restrict(self, settings: Settings, environ: MutableMapping[str, str]) -> Settings:
        """Guard the streams, and take from a fork what is not for it."""
        from rondel.ci import restrict
        from rondel.ci.stream import guarded
        from rondel.secrets.masker import Masker
        from rondel.secrets.values import secret_values

        hidden = secret_values(environ, settings.secrets)
        self._masker = Masker(hidden)
        self._budget = self._stack.enter_context(guarded(hidden))
        self._environ = dict(environ)
        settings, gone = restrict(settings, self._context, environ)
        for name in gone:
            del environ[name]
        if self._context.fork:
            print("this is a fork's code: no secrets, nothing is pushed, MLflow stays in this job")
        return super().restrict(settings, environ)

    def console(self, settings: Settings) -> PlainConsole:
        """The console that fits the CI system. Reports of the job's last run go now."""
        from rondel.ci.console import ci_console
        from rondel.reports.report_files import withdraw

        withdraw(settings.root)
        self._began = True
        return ci_console(self._context, settings)

    def finish(self, result: Result, settings: Settings) -> Result:
        """Write the reports, and the note on the merge request."""
        if self._budget is not None:
            self._budget.end()
        result = super().finish(result, settings)
        from rondel.ci.note import post_note
        from rondel.reports.report_files import FOLDER

        report = (settings.root / FOLDER / "report.md").read_text(encoding="utf-8")
        said = post_note(self._context, self._environ, report)
        if said:
            print(said)
        return result

    def refused(self, error: RondelError) -> None:
        """Report it where the CI system looks."""
        if self._budget is not None:
            self._budget.end()
        if self.root is not None:
            from rondel.reports.report_files import publish_error

            publish_error(error, self.root, self._masker)

    def last_words(self, result: Result) -> None:
        """Where the report is to be seen, and the command that repeats this job on a laptop."""
        from rondel.cli.main import COMMANDS
        from rondel.reports.report_files import FOLDER, PAGE

        page = f"{FOLDER}/{PAGE}"
        within = result.capsule.git.prefix
        shown = self.context.artifact(f"{within}/{page}" if within else page)
        if shown:
            print(f"report: {shown}", file=sys.stderr)
        if result.error is not None and "reproduce" in COMMANDS:
            from rondel.runner.repeat_commands import reproduce

            print(f"on your machine: {reproduce(result.capsule, anywhere=True)}", file=sys.stderr)

    def close(self) -> None:
        """Give the streams back."""
        self._stack.close()


def _given_back(result: Result, settings: Settings, context: CiContext | None) -> Result:
    from rondel.ci.giving import give
    from rondel.errors import RondelError

    try:
        said = give(result.capsule, settings, context)
    except RondelError as error:
        capsule = replace(result.capsule, state="failed", exit_code=error.exit_code, error=error.render())
        result.folder.save(capsule)
        return replace(result, capsule=capsule, error=error)
    print(said)
    return result
