"""Kettle, a CI system that Rondel does not know, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.ci.model import CiContext
from rondel.ci.provider import CapsuleSource, CommitPush, Notes, Provider
from rondel.ci.wrappers.wrapper import Wrapper
from rondel.record import Capsule, RunFolder, StageRecord
from rondel.reports.console import PlainConsole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rondel.ci.wrappers.jobs import Job
    from rondel.settings import CiOptions, Settings

NOTES: list[tuple[str, str, str]] = []


def detect(environ: Mapping[str, str]) -> CiContext | None:
    if "KETTLE" not in environ:
        return None
    return CiContext(
        provider="kettle",
        url="https://kettle.example/brew/7",
        id="7",
        name="brew",
        ref="main",
        branch="main",
        merge_request=3,
        author="Kit <kit@kettle.example>",
    )


def render(jobs: Sequence[Job], options: CiOptions, folder: str) -> tuple[str]:
    del folder
    return ("\n".join(f"brew {job.name} on {options.image}: {job.command}" for job in jobs),)


class KettleConsole(PlainConsole):
    """Whistles."""

    def write(self, text: str) -> None:
        print(f"♨ {text}")


def console(settings: Settings) -> KettleConsole:
    return KettleConsole(quiet=settings.quiet)


def write_note(context: CiContext, token: str, sign: str, body: str) -> str:
    NOTES.append((token, sign, body))
    return f"put a note on {context.merge_request}"


def fetch(url: str, environ: Mapping[str, str], into: Path) -> RunFolder:
    del environ
    folder = RunFolder(into / url.rpartition("/")[2])
    stages = [StageRecord(name="train", kind="pure", state="failed")]
    folder.save(
        Capsule(
            schema_version=1,
            id="20261123-200000-bbbbbb",
            state="failed",
            pipeline="p",
            file="ci/main.py",
            created="2026-11-23T20:00:00Z",
            stages=stages,
        )
    )
    return folder


KETTLE = Provider(
    name="kettle",
    title="Kettle",
    detect=detect,
    wrapper=Wrapper(name="kettle", path="kettle.txt", comment="#", render=render, together=False),
    console=console,
    artifact=lambda context, path: f"{context.url}/kept/{path}",
    notes=Notes(tokens=("KETTLE_TOKEN",), limit=100, write=write_note),
    push=CommitPush(
        url=lambda _: None,
        options=lambda branch, title: (f"pour={branch}: {title}",),
        without_token="the kettle is locked",
    ),
    capsules=CapsuleSource(page=r".*/brew/\d+$", fetch=fetch),
)
