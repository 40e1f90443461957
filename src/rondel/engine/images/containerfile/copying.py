"""COPY and ADD as steps."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from rondel.engine.images.containerfile.flags import Flags, read_flags
from rondel.engine.images.containerfile.steps import ContextSource, CopyStep, FetchStep, InlineFile, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from rondel.engine.images.containerfile.syntax import Instruction, Words

_COPY_FLAGS = ("from", "chown", "chmod", "link", "parents", "exclude")
_ADD_FLAGS = ("chown", "chmod", "link", "exclude", "checksum", "keep-git-dir", "unpack")
_HEREDOC = re.compile(r"[0-9]*<<-?\s*(['\"]?)([^'\"<]+)\1")
_GIT = re.compile(r"(?:git@|git://|ssh://)|https?://[^#?]+\.git(?:[#?].*)?$")
_MODE = re.compile(r"[0-7]{3,4}|(?:[ugoa]*[-+=](?:[rwxXst]*|[ugo])(?:[-+=](?:[rwxXst]*|[ugo]))*)"
                   r"(?:,[ugoa]*[-+=](?:[rwxXst]*|[ugo])(?:[-+=](?:[rwxXst]*|[ugo]))*)*")  # fmt: skip
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def copy_steps(
    at: Instruction, words: Words, workdir: str, source_of: Callable[[str], Source]
) -> list[CopyStep | FetchStep]:
    """The steps of one COPY or ADD: each URL is one of its own, everything else one together."""
    is_add = at.name == "ADD"
    flags = read_flags(at, _ADD_FLAGS if is_add else _COPY_FLAGS)
    if len(at.args) < 2:
        raise at.error(f"{at.name} requires at least two arguments: sources and a destination")
    *given, last = at.args
    destination = words.word(last, at)
    if not destination:
        raise at.error(f"{at.name} needs a destination; {last!r} comes to nothing")
    names, files = _sources(given, at, words)
    into = destination.endswith(("/", "/.")) or destination in (".", "..")
    if len(names) + len(files) > 1 and not into:
        raise at.error(
            f"when using {at.name} with more than one source file, the destination must be a directory "
            "and end with a /"
        )
    target = "/" + posixpath.normpath(posixpath.join(workdir, destination)).lstrip("/")
    chown, chmod = words.word(flags.get("chown"), at), words.word(flags.get("chmod"), at)
    if chmod and not _MODE.fullmatch(chmod):
        raise at.error(f"invalid chmod parameter {chmod!r}: 0755 or u=rwX,go=rX is expected")
    urls = [name for name in names if is_add and name.lower().startswith(("http://", "https://"))]
    steps: list[CopyStep | FetchStep] = [
        _fetch(url, at, flags, words, target, chown=chown, chmod=chmod, into=into) for url in urls
    ]
    local = tuple(name for name in names if name not in urls)
    for name in local:
        if is_add and _GIT.match(name):
            raise _no_git(name, at)
    if is_add and flags.get("checksum") and local:
        raise at.error("checksum is only defined for a URL or a git repository")
    if local or files:
        origin = source_of(flags.get("from")) if not is_add and flags.get("from") else ContextSource()
        if flags.get("from") and files:
            raise at.error("a heredoc cannot be copied from another stage")
        steps.append(CopyStep(
            line=at.line, text=at.source, sources=local, destination=target, origin=origin, files=files,
            into_directory=into, chown=chown, chmod=chmod, parents=not is_add and flags.switch("parents"),
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
            raise at.error(f"{at.name} has a source that comes to nothing: {text!r}")
        names.append(name)
    return names, tuple(files)


def _fetch(
    url: str, at: Instruction, flags: Flags, words: Words, target: str, *, chown: str, chmod: str, into: bool
) -> FetchStep:
    if _GIT.match(url):
        raise _no_git(url, at)
    checksum = words.word(flags.get("checksum"), at)
    if checksum and not _DIGEST.fullmatch(checksum):
        raise at.error(f"invalid checksum {checksum!r}: sha256: and 64 hexadecimal digits are expected")
    return FetchStep(
        line=at.line, text=at.source, url=url, destination=target, into_directory=into, checksum=checksum,
        chown=chown, chmod=chmod, unpack=flags.switch("unpack"),
    )  # fmt: skip


def _no_git(name: str, at: Instruction) -> Exception:
    return at.error(
        f"ADD of a git repository is not served: {name}",
        hint="give the repository's tree as the build context, or clone it with RUN git clone",
    )
