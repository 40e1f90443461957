"""The commands that repeat, resume and reproduce a run.

Commands printed where the run took place repeat the flags about this machine, too; those in a
record or a report work on any machine. They contain no secrets: secrets are variables, and no
option takes their values.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from rondel.errors import ConfigurationError
from rondel.settings.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rondel.record import Capsule
    from rondel.runner.prepared import PreparedRun
    from rondel.settings import Settings


def repeat(capsule: Capsule, *, file: str = "", here: Sequence[str] = ()) -> str:
    """The command that repeats the run. ``file`` is the path of the pipeline file from the current folder."""
    return _python(file or capsule.file, *capsule.arguments, *here)


def approve(capsule: Capsule, *, file: str = "", here: Sequence[str] = ()) -> str:
    """The command that repeats the run with an approval; the user fills in the name."""
    return f"{repeat(capsule, file=file, here=here)} --approve-by NAME"


def resume(capsule: Capsule, *, file: str = "", here: Sequence[str] = ()) -> str:
    """The command that resumes the run; its record has the options."""
    words = _python(file or capsule.file, "--resume", capsule.id, *here)
    return f"{words} --approve-by NAME" if capsule.state == "waiting" else words


def reproduce(capsule: Capsule, *, anywhere: bool = False) -> str:
    """The command that reproduces the failed stage; ``anywhere`` prefers the URL of the CI job to the ID."""
    url = capsule.ci.url if capsule.ci else None
    return shlex.join(["rondel", "reproduce", (url if anywhere else None) or capsule.id])


def stage_alone(run: PreparedRun, capsule: Capsule) -> str | None:
    """The command that runs only the failed stage again; None if none failed."""
    broken = [record for record in capsule.stages if record.state in {"failed", "cancelled"}]
    # The stage that failed first: its failure may have cancelled the others.
    # After an interrupt all of them are cancelled.
    failed = min(
        broken, key=lambda record: (record.state == "cancelled", record.finished or ""), default=None
    )
    if failed is None:
        return None
    settings = _unset(run.settings, "from_", "only")
    settings = replace(settings, params=_params_of(run, failed.name))
    words = [failed.name, "--only", *settings.arguments(), *settings.machine_arguments()]
    return _python(_file(run), *words)


def effect_alone(capsule: Capsule, stage: str) -> str:
    """The command that runs an effect stage by name, without the parameters of other stages."""
    words = capsule.arguments[len(capsule.targets) :]
    flags: list[str] = []
    while words:
        word, *words = words
        if word in {"--from", "-P"}:
            words = words[1:]
        elif word != "--only":
            flags.append(word)
    return _python(capsule.file, stage, "--only", *flags)


def follow_ups(run: PreparedRun, capsule: Capsule) -> list[str]:
    """The commands to print after a run that did not succeed."""
    if run.settings.reproduces:
        return []
    file, here = _file(run), run.settings.machine_arguments()
    resuming = f"resume: {resume(capsule, file=file, here=here)}"
    if capsule.state == "waiting":
        return [resuming]
    lines = [f"again: {stage_alone(run, capsule) or repeat(capsule, file=file, here=here)}"]
    if capsule.exit_code != ConfigurationError.exit_code:
        lines.append(resuming)
    if can_be_reproduced(capsule):
        lines.append(f"reproduce: {reproduce(capsule)}")
    return lines


def can_be_reproduced(capsule: Capsule) -> bool:
    """Whether a pure stage failed; effects are never repeated."""
    return any(record.state == "failed" and record.kind == "pure" for record in capsule.stages)


def _params_of(run: PreparedRun, stage: str) -> tuple[tuple[str, str], ...]:
    """The ``-P`` values of the stage; a run of only this stage would reject the others."""
    known = run.overrides.get(stage, {})

    def belongs(name: str) -> bool:
        base, _, parameter = name.partition(".")  # of an entry point: STAGE.PARAMETER
        return name in known or (parameter in known and stage.startswith(base))

    return tuple((name, text) for name, text in run.settings.params if belongs(name))


def _unset(settings: Settings, *names: str) -> Settings:
    sources = {name: source for name, source in settings.sources.items() if name not in names}
    defaults = {option.name: option.default for option in OPTIONS if option.name in names}
    return replace(settings, sources=sources, **defaults)


def _file(run: PreparedRun) -> str:
    from rondel.record.folder import short_path

    return short_path(run.settings.root / run.file)


def _python(*words: str) -> str:
    return shlex.join(["python", *words])
