"""A Containerfile's stages: the base of each, and which of them a target needs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rondel.containerfile.flags import mount_from, read_flags
from rondel.containerfile.steps import ImageSource, Source, StageSource
from rondel.containerfile.syntax import Instruction, NotUnderstood, Script, Words, read
from rondel.containerfile.variables import declare
from rondel.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
# https://docs.docker.com/reference/dockerfile/#predefined-args: known without ARG, and not part of a
# command's identity.
PROXY_ARGS = tuple(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)


@dataclass(frozen=True, slots=True)
class BuildStage:
    """One stage: its base (None for ``scratch``) and its instructions."""

    index: int
    name: str
    base: Source | None
    platform: str
    instructions: tuple[Instruction, ...]
    at: Instruction
    needs: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Outline:
    """A Containerfile whose stages are known, for one target and one set of build arguments."""

    text: str
    stages: tuple[BuildStage, ...]
    target: int
    escape: str
    file: str
    global_args: Mapping[str, str] = field(default_factory=dict)
    build_args: Mapping[str, str] = field(default_factory=dict)

    @property
    def needed(self) -> tuple[BuildStage, ...]:
        """The stages that the target needs, itself included, in the file's order."""
        wanted: set[int] = set()
        todo = [self.target]
        while todo:
            index = todo.pop()
            if index not in wanted:
                wanted.add(index)
                todo += self.stages[index].needs
        return tuple(self.stages[index] for index in sorted(wanted))

    @property
    def images(self) -> frozenset[tuple[str, str]]:
        """(reference, platform) of every base image of the needed stages."""
        return frozenset(
            (stage.base.reference, stage.platform)
            for stage in self.needed
            if isinstance(stage.base, ImageSource)
        )

    @property
    def needed_text(self) -> str:
        """The text of the needed stages, after what precedes the first of all stages."""
        starts = [_start(self.text, stage.at.line) for stage in self.stages]
        ends = [*starts[1:], len(self.text)]
        blocks = (self.text[starts[stage.index] : ends[stage.index]] for stage in self.needed)
        return self.text[: starts[0]] + "".join(blocks)

    def source_of(self, name: str, stage: int, at: Instruction) -> Source:
        """What ``--from=NAME`` means in a stage: an earlier stage by name or number, or an image."""
        source = _source_of(name, self.stages, stage, at)
        if isinstance(source, StageSource) and all(one.index != source.index for one in self.needed):
            # Only a trigger of a base image comes here: it names what this file does not lead to.
            raise at.refusal(f'cannot copy from stage "{name}", which the target does not need')
        return source


def outline(
    text: str,
    *,
    file: str = "Dockerfile",
    target: str = "",
    build_args: Mapping[str, str] | None = None,
    platform: str,
    build_platform: str = "",
) -> Outline:
    """Read a Containerfile and find its stages. Platforms are texts such as ``linux/arm/v7``.

    :class:`ContainerfileError` names the line of what cannot be understood, an
    unknown target or a stage that does not exist.
    """
    given = dict(build_args or {})
    script = read(text, file)
    known = _platform_args(platform, build_platform or platform, target)
    global_args = {name: given.get(name, value) for name, value in known.items()}
    stages: list[BuildStage] = []
    current: list[Instruction] = []
    for instruction in script.instructions:
        if instruction.name == "FROM":
            _close(stages, current)
            current = []
            stages.append(_open(instruction, stages, Words(script.escape, global_args)))
        elif stages:
            current.append(instruction)
        elif instruction.name == "ARG":
            declare(instruction, global_args, given, {}, Words(script.escape, global_args))
        else:
            raise instruction.refusal(
                "no build stage in current context", hint=f"{instruction.name} comes before the first FROM"
            )
    if not stages:
        raise NotUnderstood("dockerfile contains no stages to build", file=file, hint="begin with FROM")
    _close(stages, current)
    _link(stages)
    wanted = _find_target(stages, target, script)
    return Outline(text, tuple(stages), wanted, script.escape, file, global_args, given)


def _start(text: str, line: int) -> int:
    """Where a stage's text begins: at its FROM, or at the blank lines before it."""
    before = "".join(f"{part}\n" for part in text.split("\n")[: line - 1])
    stripped = len(before.rstrip())
    return before.index("\n", stripped) + 1 if stripped else 0


def _open(at: Instruction, earlier: list[BuildStage], words: Words) -> BuildStage:
    flags = read_flags(at, ("platform",))
    name = ""
    if len(at.args) == 3 and at.args[1].lower() == "as":
        name = at.args[2].lower()
        if not _STAGE_NAME.fullmatch(name):
            raise at.error(f'invalid name for build stage: "{at.args[2]}", name can\'t start with a number '
                           "or contain symbols")  # fmt: skip
    elif len(at.args) != 1:
        raise at.error("FROM requires either one or three arguments", hint="FROM IMAGE [AS NAME]")
    base = words.word(at.args[0], at)
    if not base:
        raise at.refusal(
            f"base name ({at.args[0]}) should not be blank", hint="give the ARG a default before FROM"
        )
    platform = words.word(flags.get("platform"), at)
    if flags.get("platform") and not platform:
        raise at.refusal(f"empty platform value from expression {flags.get('platform')}")
    source: Source | None = None
    if base != "scratch":
        stage = next((s for s in reversed(earlier) if s.name and s.name == base.lower()), None)
        source = ImageSource(base) if stage is None else StageSource(stage.index)
    return BuildStage(len(earlier), name, source, platform, (), at)


def _close(stages: list[BuildStage], instructions: list[Instruction]) -> None:
    if not stages:
        return
    stages[-1] = replace(stages[-1], instructions=tuple(instructions))


def _link(stages: list[BuildStage]) -> None:
    """Find which stages each needs. Names of later stages are known now: they are an error, not an image."""
    for stage in stages:
        sources = [stage.base]
        for instruction in stage.instructions:
            names = _froms(instruction)
            sources += [_source_of(name, stages, stage.index, instruction) for name in names]
        needs = frozenset(source.index for source in sources if isinstance(source, StageSource))
        stages[stage.index] = replace(stage, needs=needs)


def _froms(instruction: Instruction) -> list[str]:
    names = []
    for flag in instruction.flags:
        key, _, value = flag.partition("=")
        if key == "--from" and instruction.name == "COPY":
            names.append(value)
        elif key == "--mount" and instruction.name == "RUN" and (name := mount_from(value, instruction)):
            names.append(name)
    return names


def _source_of(name: str, stages: Sequence[BuildStage], current: int, at: Instruction) -> Source:
    if "$" in name:
        raise at.error(
            "'from' doesn't support variable expansion, define alias stage instead",
            hint="FROM with a global ARG takes variables: name that stage",
        )
    if not name:
        raise at.error("missing a value on flag: from")
    found = [stage.index for stage in stages if stage.name and stage.name == name.lower()]
    if not found and name.isdecimal():
        if int(name) >= len(stages):
            raise at.refusal(f"invalid stage index {name}")
        found = [int(name)]
    if not found:
        return ImageSource(name)
    earlier = [index for index in found if index < current]
    if earlier:
        return StageSource(earlier[-1])
    own = stages[current].name or f"stage-{current}"
    if current in found:
        raise at.refusal(f"circular dependency detected on stage: {own}")
    raise at.refusal(
        f'cannot copy from stage "{name}", it needs to be defined before current stage "{own}"',
    )


def _find_target(stages: list[BuildStage], target: str, script: Script) -> int:
    if not target:
        return len(stages) - 1
    for stage in reversed(stages):
        if stage.name == target.lower():
            return stage.index
    if target.isdecimal() and int(target) < len(stages):
        return int(target)
    names = [stage.name for stage in stages if stage.name]
    raise NotUnderstood(
        f'target stage "{target}" could not be found', file=script.file, hint=did_you_mean(target, names)
    )


def _platform_args(target: str, build: str, stage: str) -> dict[str, str]:
    values = {"TARGETSTAGE": stage or "default"}
    for prefix, platform in (("TARGET", target), ("BUILD", build)):
        names = (f"{prefix}OS", f"{prefix}ARCH", f"{prefix}VARIANT")
        parts = (*platform.split("/"), "")
        values |= {f"{prefix}PLATFORM": platform, **dict(zip(names, parts, strict=False))}
    return values
