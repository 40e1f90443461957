"""A Containerfile's text as instructions, with their lines.

The reading itself (continuations, JSON forms, flags, heredocs) is
e2b-dockerfile-utils', a port of BuildKit's parser; here are its values made
immutable and its errors given their place.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NEAR = 2
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*")
_TRIGGER_DOCUMENT = re.compile(r"\s*ONBUILD\s+(?:RUN|COPY|ADD)\b.*<<", re.IGNORECASE)
INSTRUCTIONS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER",
    "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip
_FRONTEND = re.compile(r"(?:(?:index\.)?docker\.io/)?(?:docker|moby)/dockerfile(?:-upstream)?(?:[:@].*)?")


class ContainerfileError(EngineError):
    """A Containerfile that cannot be built, with the file and line at fault."""

    def __init__(self, what: str, *, file: str, line: int | None = None, hint: str | None = None) -> None:
        place = file if line is None else f"{file}:{line}"
        super().__init__(what, hint=hint, place=place)
        self.line = line

    def __str__(self) -> str:
        return self.render()


class NotUnderstood(ContainerfileError):
    """A Containerfile of which nothing is built: it is not well formed, or asks for what cannot be.

    ``answer`` is that in the words that BuildKit's frontend has for it, which pipelines match. They name
    the line of what is not well formed, and no place of anything else; the error itself always does.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str,
        line: int | None = None,
        hint: str | None = None,
        shows_line: bool = False,
    ) -> None:
        super().__init__(what, file=file, line=line, hint=hint)
        where = f"dockerfile parse error on line {line}: " if shows_line else ""
        self.answer = f"failed to convert Dockerfile to LLB: {where}{what}"


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A document written in place: its name, its text, and whether variables in it are expanded."""

    name: str
    text: str
    expand: bool
    chomp: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. ``args`` are not expanded; for ENV and LABEL they are name and value in turn.

    ``line`` and ``end`` are its first and last line, ``source`` is what they say, on one line.
    """

    name: str
    args: tuple[str, ...]
    flags: tuple[str, ...]
    is_json: bool
    heredocs: tuple[Heredoc, ...]
    file: str
    line: int
    end: int
    source: str

    def error(self, what: str, hint: str | None = None) -> NotUnderstood:
        """Say that the instruction is not well formed."""
        return NotUnderstood(what, file=self.file, line=self.line, hint=hint, shows_line=True)

    def refusal(self, what: str, hint: str | None = None) -> NotUnderstood:
        """Say that the instruction, though well formed, asks for what cannot be."""
        return NotUnderstood(what, file=self.file, line=self.line, hint=hint)


@dataclass(frozen=True, slots=True)
class Script:
    """A whole Containerfile: instructions, and the character that escapes."""

    instructions: tuple[Instruction, ...]
    escape: str
    file: str


def read(text: str, file: str) -> Script:
    """Read a Containerfile's text; :class:`ContainerfileError` with the line of what is not understood."""
    from e2b_dockerfile_utils import DockerfileSyntaxError, parse_dockerfile_ast

    if not text:
        raise NotUnderstood("the Dockerfile cannot be empty", file=file)
    _check_frontend(text, file)
    try:
        tree = parse_dockerfile_ast(text)
    except DockerfileSyntaxError as error:
        message = str(error).split(": ", 1)[-1]
        before = text.splitlines()[: (error.line or 1) - 1]
        for number, line in enumerate(before, start=1):
            if message.startswith("unknown instruction") and _TRIGGER_DOCUMENT.match(line):
                message = "a heredoc in ONBUILD is not served"
                raise NotUnderstood(message, file=file, line=number) from None
        word = message.removeprefix("unknown instruction: ")
        if word != message:
            message += suggestion(word, INSTRUCTIONS)
        raise NotUnderstood(message, file=file, line=error.line, shows_line=word != message) from None
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(f"cannot be read: {error}", file=file) from None
    instructions = tuple(
        Instruction(
            name=item.name,
            args=_without_delimiters(item.name, item.args),
            flags=tuple(item.flags),
            is_json=item.json,
            heredocs=tuple(Heredoc(doc.name, doc.content, doc.expand, doc.chomp) for doc in item.heredocs),
            file=file,
            line=item.start_line,
            end=item.end_line,
            source=item.original,
        )
        for item in tree.instructions
    )
    if not instructions:
        raise NotUnderstood("file with no instructions", file=file)
    return Script(instructions, tree.escape_token, file)


def _check_frontend(text: str, file: str) -> None:
    """``# syntax=`` may name any version of the usual frontend: the newest reference is what is served."""
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        directive = _DIRECTIVE.fullmatch(line.strip())
        if directive is None:
            if number == 1 and line.startswith("#!"):
                continue
            return
        if directive[1].lower() == "syntax" and not _FRONTEND.fullmatch(directive[2].split()[0]):
            raise ContainerfileError(
                f'dockerBuild syntax frontend "{directive[2]}" is unsupported', file=file, line=number,
                hint="docker/dockerfile in any version is served without a download",
            )  # fmt: skip


def _without_delimiters(name: str, args: list[str]) -> tuple[str, ...]:
    """ENV and LABEL come as name, value and delimiter; the delimiter says nothing any more."""
    if name in ("ENV", "LABEL"):
        return tuple(word for position, word in enumerate(args) if position % 3 != 2)
    return tuple(args)


@dataclass(frozen=True, slots=True)
class Words:
    """Expansion of variables and quotes in an instruction's words."""

    escape: str
    variables: Mapping[str, str]

    def word(self, text: str, at: Instruction) -> str:
        """One word, without its quotes; a variable that is not set is empty."""
        return self._process(text, at)[0]

    def words(self, text: str, at: Instruction) -> tuple[str, ...]:
        """The words of the text after its variables are expanded."""
        return tuple(self._process(text, at)[1])

    def document(self, text: str, at: Instruction) -> str:
        """A heredoc's text: variables filled in, quotes kept."""
        return self._process(text, at, skip_quotes=True)[0]

    def _process(self, text: str, at: Instruction, *, skip_quotes: bool = False) -> tuple[str, list[str]]:
        from e2b_dockerfile_utils import ShellLex

        lexer = ShellLex(
            self.escape, env=self.variables, skip_unset_env=False, skip_process_quotes=skip_quotes
        )
        try:
            return (lexer.process_word(text), [] if skip_quotes else lexer.process_words(text))
        except ValueError as error:
            reason = str(error).removeprefix(f"failed to process {text!r}: ")
            raise at.refusal(f"failed to process {json.dumps(text, ensure_ascii=False)}: {reason}") from None


def suggestion(word: str, known: Iterable[str]) -> str:
    """`` (did you mean RUN?)`` for a word that is two letters from a known one at most, or nothing."""
    lower = word.lower()
    distances = [(_distance(lower, name.lower()), name) for name in known]
    near, name = min(distances, key=lambda pair: pair[0], default=(_NEAR + 1, ""))
    if near > _NEAR:
        return ""
    return f" (did you mean {name.lower() if word == lower else name}?)"


def _distance(one: str, other: str) -> int:
    """How many letters must be put in, left out or changed to make one word of the other (Levenshtein)."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, start=1):
        above, row = row, [number]
        for place, wanted in enumerate(other, start=1):
            row.append(min(above[place] + 1, row[-1] + 1, above[place - 1] + (letter != wanted)))
    return row[-1]
