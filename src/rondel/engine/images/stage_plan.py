"""A stage as a plan: its steps with every word expanded, and the configuration it ends with."""

from __future__ import annotations

import posixpath
import re
import signal
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rondel.containerfile import (
    BuildStage,
    InlineFile,
    Instruction,
    Outline,
    RunStep,
    Step,
    Words,
    WorkdirStep,
)
from rondel.containerfile.copying import copy_steps
from rondel.containerfile.flags import read_flags, read_mount
from rondel.containerfile.outline import PROXY_ARGS
from rondel.containerfile.variables import declare, pairs, trigger_of, triggered
from rondel.engine.images.durations import nanoseconds
from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rondel.engine.images.model import ImageConfig

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SCRIPTS = "/run/containerfile"  # where a document that is a script is shown while it runs
_DEFAULT_SHELL = ("/bin/sh", "-c")
_PORT = re.compile(r"(?:[^/]*:)?(\d+)(?:-(\d+))?(?:/([A-Za-z]+))?")
_FLAGGED = frozenset(("ADD", "COPY", "HEALTHCHECK", "RUN"))
_REAL_TIME = re.compile(r"RTMIN(?:\+(?:[1-9]|1[0-5]))?|RTMAX(?:-(?:[1-9]|1[0-4]))?")


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage's steps, in order, and the configuration it ends with.

    ``scope`` are the variables and arguments at its end: a stage based on this one inherits them.
    """

    stage: BuildStage
    steps: tuple[Step, ...]
    config: ImageConfig
    scope: Mapping[str, str] = field(default_factory=dict)


def plan_stage(
    outline: Outline, stage: BuildStage, base: ImageConfig, inherited: Mapping[str, str] | None = None
) -> StagePlan:
    """The plan of ``stage`` over a base with this configuration.

    ``inherited`` is the scope of the stage that is its base, if there is one. The base's
    ONBUILD triggers come first. :class:`ContainerfileError` names the line of what cannot be done.
    """
    planner = _Planner(outline, stage, base, dict(inherited or {}))
    for trigger in base.on_build:
        planner.take(triggered(trigger, stage.at))
    for instruction in stage.instructions:
        planner.take(instruction)
    return StagePlan(stage, tuple(planner.steps), planner.config, planner.scope)


class _Planner:
    """Walks a stage's instructions; ``config``, ``env`` and ``scope`` are those of the moment.

    ``env`` are the variables that the image keeps. ``scope`` is what commands and words see:
    those and the arguments, where the instruction that comes last wins.
    """

    def __init__(self, outline: Outline, stage: BuildStage, base: ImageConfig, scope: dict[str, str]) -> None:
        self.outline = outline
        self.stage = stage
        env = dict(pair.partition("=")[::2] for pair in base.env)
        self.env = env if "PATH" in env else env | {"PATH": DEFAULT_PATH}
        self.config = replace(base, on_build=(), env=_env(self.env))
        self.scope = scope | self.env
        self.steps: list[Step] = []
        self._has_cmd = False
        self._has_entrypoint = False
        self._handlers: dict[str, Callable[[Instruction], None]] = {
            "ADD": self._copy, "ARG": self._arg, "CMD": self._cmd, "COPY": self._copy,
            "ENTRYPOINT": self._entrypoint, "ENV": self._set_env, "EXPOSE": self._expose,
            "HEALTHCHECK": self._healthcheck, "LABEL": self._label, "MAINTAINER": self._maintainer,
            "ONBUILD": self._onbuild, "RUN": self._run, "SHELL": self._shell,
            "STOPSIGNAL": self._stopsignal, "USER": self._user, "VOLUME": self._volume,
            "WORKDIR": self._workdir,
        }  # fmt: skip

    def take(self, at: Instruction) -> None:
        if at.name not in _FLAGGED:
            read_flags(at, ())
        self._handlers[at.name](at)

    @property
    def workdir(self) -> str:
        return self.config.workdir or "/"

    @property
    def words(self) -> Words:
        """What a word sees: later changes are not among it."""
        return Words(self.outline.escape, dict(self.scope))

    def _arg(self, at: Instruction) -> None:
        # A default may name an argument declared before it on the same line.
        words = Words(self.outline.escape, self.scope)
        declare(at, self.scope, self.outline.build_args, self.outline.global_args, words)

    def _set_env(self, at: Instruction) -> None:
        new = pairs(at, self.words)
        self.env |= new
        self.scope |= new
        self.config = replace(self.config, env=_env(self.env))

    def _label(self, at: Instruction) -> None:
        self.config = replace(self.config, labels={**self.config.labels, **pairs(at, self.words)})

    def _maintainer(self, at: Instruction) -> None:
        self.config = replace(self.config, rest={**self.config.rest, "author": self._single(at)})

    def _user(self, at: Instruction) -> None:
        self.config = replace(self.config, user=self._single(at, empty=True))

    def _stopsignal(self, at: Instruction) -> None:
        name = self._single(at)
        if not _is_signal(name):
            raise at.refusal(f"invalid signal: {name}")
        self.config = replace(self.config, stop_signal=name)

    def _workdir(self, at: Instruction) -> None:
        path = posixpath.normpath(posixpath.join(self.workdir, self._single(at)))
        path = "/" + path.lstrip("/")
        self.config = replace(self.config, workdir=path)
        if path != "/":
            self.steps.append(WorkdirStep(line=at.line, path=path, user=self.config.user))

    def _volume(self, at: Instruction) -> None:
        if not at.args:
            raise at.error("VOLUME requires at least one argument")
        words = self.words
        paths = [words.word(text, at) for text in at.args]
        if not all(paths):
            raise at.error("VOLUME specified can not be an empty string")
        self.config = replace(self.config, volumes=tuple(sorted({*self.config.volumes, *paths})))

    def _expose(self, at: Instruction) -> None:
        if not at.args:
            raise at.error("EXPOSE requires at least one argument")
        ports = set(self.config.exposed_ports)
        for text in at.args:
            for word in self.words.words(text, at):
                ports |= set(_ports(word, at))
        self.config = replace(self.config, exposed_ports=tuple(sorted(ports)))

    def _shell(self, at: Instruction) -> None:
        if not at.args:
            raise at.error("SHELL requires at least one argument")
        if not at.is_json:
            raise at.error(
                "SHELL requires the arguments to be in JSON form", hint='SHELL ["/bin/bash", "-c"]'
            )
        self.config = replace(self.config, shell=at.args)

    def _cmd(self, at: Instruction) -> None:
        self.config = replace(self.config, cmd=self._command(at, at.args))
        self._has_cmd = True

    def _entrypoint(self, at: Instruction) -> None:
        # A new entry point makes the base's arguments meaningless, those of this stage stay.
        cmd = self.config.cmd if self._has_cmd else ()
        self.config = replace(self.config, entrypoint=self._command(at, at.args), cmd=cmd)
        self._has_entrypoint = True

    def _command(self, at: Instruction, args: tuple[str, ...]) -> tuple[str, ...]:
        if at.is_json:
            return args
        return (*(self.config.shell or _DEFAULT_SHELL), args[0] if args else "")

    def _healthcheck(self, at: Instruction) -> None:
        names = ("interval", "timeout", "start-period", "start-interval", "retries")
        flags = read_flags(at, names)
        kind = at.args[0].upper() if at.args else ""
        if kind == "NONE":
            if len(at.args) > 1 and at.args[1]:
                raise at.error("HEALTHCHECK NONE takes no arguments")
            self.config = replace(self.config, healthcheck={"Test": ["NONE"]})
            return
        command = [word for word in at.args[1:] if word]
        if kind != "CMD" or not command:
            if kind == "CMD":
                raise at.error("Missing command after HEALTHCHECK CMD")
            if not kind:
                raise at.error("HEALTHCHECK requires at least one argument")
            raise at.error(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
        check: dict[str, Any] = {"Test": ["CMD", *command] if at.is_json else ["CMD-SHELL", command[0]]}
        for name, key in zip(names[:4], ("Interval", "Timeout", "StartPeriod", "StartInterval"), strict=True):
            if text := flags.get(name):
                check[key] = _duration(text, name, at)
        if text := flags.get("retries"):
            if text.startswith("-"):
                raise at.error(f"--retries cannot be negative ({text})")
            if not text.isdecimal():
                raise at.error(f'strconv.ParseInt: parsing "{text}": invalid syntax')
            check["Retries"] = int(text)
        self.config = replace(self.config, healthcheck=check)

    def _onbuild(self, at: Instruction) -> None:
        self.config = replace(self.config, on_build=(*self.config.on_build, trigger_of(at)))

    def _copy(self, at: Instruction) -> None:
        self.steps += copy_steps(at, self.words, self.workdir, lambda name: self._source(name, at))

    def _source(self, name: str, at: Instruction) -> Any:
        return self.outline.source_of(name, self.stage.index, at)

    def _run(self, at: Instruction) -> None:
        flags = read_flags(at, ("mount", "network", "security"))
        network = flags.get("network", "default")
        if network not in ("default", "none", "host"):
            raise at.error(f'invalid network mode "{network}"', hint="default, none or host")
        if flags.get("security", "sandbox") != "sandbox":
            raise at.error("RUN --security=insecure is not served: builds run without privileges")
        words = self.words
        uses = tuple(
            read_mount(
                text, at, self.workdir, lambda name: self._source(name, at), lambda word: words.word(word, at)
            )
            for text in flags.all("mount")
        )
        args, script = self._run_command(at)
        if not args or not (at.is_json or any(at.args)):
            raise at.error("RUN requires a command")
        env = {k: v for k, v in self.scope.items() if k not in PROXY_ARGS or k in self.env}
        declared = {k: v for k, v in self.scope.items() if k in PROXY_ARGS and k not in self.env}
        given = {k: v for k, v in self.outline.build_args.items() if k in PROXY_ARGS}
        # Programs read one spelling or the other: what is given is seen in both.
        both = {k: v for name, v in given.items() for k in (name.upper(), name.lower()) if k not in given}
        proxies = {k: v for k, v in (both | given | declared).items() if k not in env}
        self.steps.append(RunStep(
            line=at.line, source=at.source, args=args, env=tuple(env.items()),
            hidden_env=tuple(proxies.items()), workdir=self.workdir, user=self.config.user,
            uses=uses, network=network, script=script,
        ))  # fmt: skip

    def _run_command(self, at: Instruction) -> tuple[tuple[str, ...], InlineFile | None]:
        if at.is_json or not at.heredocs:
            return self._command(at, at.args), None
        text = at.args[0] if at.args else ""
        document = at.heredocs[0]
        if len(at.heredocs) == 1 and re.fullmatch(
            r"[0-9]*<<-?\s*(['\"]?)" + re.escape(document.name) + r"\1", text
        ):
            # The document is the whole command: a script with an interpreter, or one for the shell.
            body = _chomped(document.text) if document.chomp else document.text
            if body.startswith("#!"):
                return (f"{_SCRIPTS}/{document.name}",), InlineFile(document.name, body)
            return self._command(at, (body,)), None
        # Otherwise the shell itself reads the documents, as it would in a script.
        rest = "".join(f"{doc.text}{doc.name}\n" for doc in at.heredocs)
        return self._command(at, (f"{text}\n{rest}".removesuffix("\n"),)), None

    def _single(self, at: Instruction, *, empty: bool = False) -> str:
        if len(at.args) != 1:
            raise at.error(f"{at.name} requires exactly one argument")
        value = self.words.word(at.args[0], at)
        if not value and not empty:
            raise at.error(f"{at.name} requires a value; {at.args[0]!r} expands to nothing")
        return value


def _env(variables: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in variables.items())


def _is_signal(text: str) -> bool:
    """A signal's number, or its name with or without SIG."""
    if text.isdecimal():
        return int(text) > 0
    name = text.upper().removeprefix("SIG")
    known = {member.name.removeprefix("SIG") for member in signal.Signals} | {"STKFLT", "POLL", "CLD", "IOT"}
    return name in known or _REAL_TIME.fullmatch(name) is not None


def _chomped(text: str) -> str:
    return re.sub(r"^\t+", "", text, flags=re.MULTILINE)


def _ports(word: str, at: Instruction) -> list[str]:
    match = _PORT.fullmatch(word)
    protocol = (match[3] or "tcp").lower() if match else ""
    if match is None:
        raise at.refusal(f"invalid containerPort: {word}", hint="8080, 53/udp or 8000-8010")
    if protocol not in ("tcp", "udp", "sctp"):
        raise at.refusal(f"invalid proto: {protocol}", hint="tcp, udp or sctp")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 0 < first <= last <= 65535:
        raise at.refusal(f"invalid containerPort: {word}")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _duration(text: str, name: str, at: Instruction) -> int:
    try:
        length = nanoseconds(text)
    except EngineError as error:
        raise at.error(error.what, hint="write it as 30s, 1m30s or 500ms") from None
    if length and length < 10**6:
        raise at.error(f'Interval "{name}" cannot be less than 1ms')
    return length
