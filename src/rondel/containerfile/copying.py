"""COPY and ADD as steps."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rondel.containerfile.flags import Flags, read_flags
from rondel.containerfile.gitsource import GitSource
from rondel.containerfile.steps import (
    ContextSource,
    CopyStep,
    FetchStep,
    GitStep,
    InlineFile,
    Source,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rondel.containerfile.syntax import Instruction, Words

_COPY_FLAGS = ("from", "chown", "chmod", "link", "parents", "exclude")
_ADD_FLAGS = ("chown", "chmod", "link", "exclude", "checksum", "keep-git-dir", "unpack")
_HEREDOC = re.compile(r"[0-9]*<<-?\s*(['\"]?)([^'\"<]+)\1")
_CLAUSE = r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+"
_MODE = rf"0*[0-7]{{1,4}}|{_CLAUSE}(?:,{_CLAUSE})*"
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def copy_steps(
    at: Instruction, words: Words, workdir: str, source_of: Callable[[str], Source]
) -> list[CopyStep | FetchStep | GitStep]:
    """The steps of one COPY or ADD: one for each URL or repository, and one for all files."""
    is_add = at.name == "ADD"
    flags = read_flags(at, _ADD_FLAGS if is_add else _COPY_FLAGS)
    if len(at.args) < 2:
        raise at.error(
            f"{at.name} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    *given, last = at.args
    destination = words.word(last, at)
    if not destination:
        raise at.error(f"{at.name} needs a destination; {last!r} expands to nothing")
    names, files = _sources(given, at, words)
    into = destination.endswith(("/", "/.")) or destination in (".", "..")
    target = "/" + posixpath.normpath(posixpath.join(workdir, destination)).lstrip("/")
    chown, chmod = words.word(flags.get("chown"), at), words.word(flags.get("chmod"), at)
    if chmod and not re.fullmatch(_MODE, chmod):
        raise at.refusal(
            f"invalid chmod parameter: '{chmod}'. it should be octal string and between 0 and 07777",
            hint="or symbolic, as in u=rwX,go=rX",
        )
    remote = _Remote(at, flags, words, target, chown, chmod, into)
    steps: list[CopyStep | FetchStep | GitStep] = []
    local: list[str] = []
    for name in names:
        step = remote.step(name)
        if step is None:
            local.append(name)
        else:
            steps.append(step)
    if is_add and flags.get("checksum") and (len(names) > 1 or local or files):
        raise at.refusal("checksum can't be specified for multiple sources" if len(names) > 1
                       else "checksum can't be specified for non-HTTP(S) sources")  # fmt: skip
    if local or files:
        origin = source_of(flags.get("from")) if not is_add and flags.get("from") else ContextSource()
        if flags.get("from") and files:
            raise at.refusal("a heredoc cannot be copied from another stage")
        steps.append(CopyStep(
            line=at.line, text=at.source, sources=tuple(local), destination=target, origin=origin,
            files=files, into_directory=into, chown=chown, chmod=chmod,
            parents=not is_add and flags.switch("parents"),
            exclude=tuple(words.word(text, at) for text in flags.all("exclude")),
            link=flags.switch("link"), unpack=is_add and flags.switch("unpack", default=True),
        ))  # fmt: skip
    return steps


def _sources(given: list[str], at: Instruction, words: Words) -> tuple[list[str], tuple[InlineFile, ...]]:
    documents = {doc.name: doc for doc in at.heredocs}
    names: list[str] = []
    files: list[InlineFile] = []
    for text in given:
        match = None if at.is_json else _HEREDOC.fullmatch(text)
        if match and match[2] in documents:
            document = documents[match[2]]
            body = re.sub(r"^\t+", "", document.text, flags=re.MULTILINE) if document.chomp else document.text
            body = words.document(body, at) if document.expand else body
            files.append(InlineFile(document.name, body))
            continue
        name = words.word(text, at)
        if not name:
            raise at.error(f"{at.name} has a source that expands to nothing: {text!r}")
        names.append(name)
    return names, tuple(files)


@dataclass(frozen=True, slots=True)
class _Remote:
    """What the sources of one COPY or ADD that are no files of the context come to."""

    at: Instruction
    flags: Flags
    words: Words
    target: str
    chown: str
    chmod: str
    into: bool

    def step(self, name: str) -> FetchStep | GitStep | None:
        """The step that gets a URL or a git repository; None for a file."""
        at = self.at
        try:
            repository = GitSource.parse(name)
        except ValueError as error:
            raise at.refusal(str(error)) from None
        if repository is None and not name.lower().startswith(("http://", "https://")):
            return None
        if at.name == "COPY":
            kind = "a URL" if repository is None else "a git ref"
            raise at.refusal(f"source can't be {kind} for COPY", hint="ADD takes it")
        checksum = self.words.word(self.flags.get("checksum"), at)
        return self._fetch(name, checksum) if repository is None else self._git(repository, checksum)

    def _fetch(self, url: str, checksum: str) -> FetchStep:
        if checksum and not _DIGEST.fullmatch(checksum):
            known = checksum.startswith(("sha256:", "sha512:"))
            raise self.at.refusal(
                f"invalid checksum digest {'length' if known else 'format'}",
                hint="sha256: and 64 hexadecimal digits are expected",
            )
        return FetchStep(
            line=self.at.line, text=self.at.source, url=url, destination=self.target,
            into_directory=self.into, checksum=checksum, chown=self.chown, chmod=self.chmod,
            unpack=self.flags.switch("unpack"),
        )  # fmt: skip

    def _git(self, source: GitSource, checksum: str) -> GitStep:
        commit = source.commit or checksum.lower()
        if commit and not _COMMIT.fullmatch(commit):
            raise self.at.refusal(
                f"invalid checksum {commit!r} of a git repository: a commit's hash is expected"
            )
        return GitStep(
            line=self.at.line, text=self.at.source, url=source.url, reference=source.reference,
            folder=posixpath.normpath("/" + source.folder).lstrip("/"), destination=self.target,
            keep_git_dir=self.flags.switch("keep-git-dir", default=bool(source.keep_git_dir)),
            commit=commit, chown=self.chown, chmod=self.chmod,
            exclude=tuple(self.words.word(text, self.at) for text in self.flags.all("exclude")),
        )  # fmt: skip


def symbolic_mode(text: str, mode: int, *, directory: bool) -> int:
    """The permission bits that ``u=rwX,go=rX`` makes of ``mode``; octal texts replace all of them."""
    if text.isdecimal():
        return int(text, 8)
    bits = mode & 0o7777
    for clause in text.split(","):
        match = re.match(r"[ugoa]*", clause)
        who = match[0] if match else ""
        for operator, letters in re.findall(r"([-+=])([ugo](?![a-zA-Z])|[rwxXst]*)", clause[len(who) :]):
            bits = _apply(bits, who or "a", operator, letters, directory=directory)
    return bits


def _apply(bits: int, who: str, operator: str, letters: str, *, directory: bool) -> int:
    executable = directory or bool(bits & 0o111)
    for kind, shift, special in (("u", 6, 0o4000), ("g", 3, 0o2000), ("o", 0, 0o1000)):
        if kind not in who and "a" not in who:
            continue
        if letters in ("u", "g", "o"):
            wanted = bits >> {"u": 6, "g": 3, "o": 0}[letters] & 7
        else:
            wanted = sum({"r": 4, "w": 2, "x": 1}.get(letter, 0) for letter in set(letters))
            if "X" in letters and executable:
                wanted |= 1
        mask = wanted << shift | (special if ("t" if kind == "o" else "s") in letters else 0)
        if operator == "=":
            bits = bits & ~(7 << shift | special) | mask
        elif operator == "+":
            bits |= mask
        else:
            bits &= ~mask
    return bits
