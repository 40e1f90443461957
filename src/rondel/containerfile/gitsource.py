"""A git repository as ADD names it: ``URL#ref:folder``, or the same as a query."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

_GIT = re.compile(r"(?:git|ssh)://.+|https?://[^#?]+\.git(?:[#?].*)?", re.IGNORECASE)
_SCP = re.compile(r"[\w.-]+@[\w.-]+:(?!/?$)[^:]+.*")
_ENDS_AT_REFERENCE = ("branch", "tag", "ref")
_KNOWN = frozenset((*_ENDS_AT_REFERENCE, "commit", "checksum", "subdir", "keep-git-dir"))


@dataclass(frozen=True, slots=True)
class GitSource:
    """A repository, a reference (empty: HEAD), a folder of its tree, and the commit that it has to be."""

    url: str
    reference: str = ""
    folder: str = ""
    commit: str = ""
    keep_git_dir: bool | None = None

    @classmethod
    def parse(cls, text: str) -> GitSource | None:
        """The source that a word names; None for one that is no git repository. ValueError for a bad one."""
        if not _GIT.fullmatch(text) and not ("://" not in text and _SCP.fullmatch(text)):
            return None
        rest, _, fragment = text.partition("#")
        url, question, query = rest.partition("?")
        reference, _, folder = fragment.partition(":")
        if not question:
            return cls(url, reference, folder)
        return _with_query(url, reference, folder, query)


def _with_query(url: str, reference: str, folder: str, query: str) -> GitSource:
    """https://docs.docker.com/build/concepts/context/#url-queries."""
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _KNOWN:
            raise ValueError(f'unexpected query "{name}" of a git URL')
        if name in options:
            raise ValueError(f'query "{name}" of a git URL is given twice')
        options[name] = value
    named = [name for name in _ENDS_AT_REFERENCE if options.get(name)]
    if len(named) > 1 or (named and reference):
        raise ValueError("a git URL names one reference: in its fragment, or as branch, tag or ref")
    if named:
        prefix = {"branch": "refs/heads/", "tag": "refs/tags/", "ref": ""}[named[0]]
        reference = prefix + options[named[0]].removeprefix(prefix)
    if options.get("subdir") and folder:
        raise ValueError("a git URL names one folder: in its fragment, or as subdir")
    keep = options.get("keep-git-dir")
    return GitSource(
        url,
        reference,
        folder or options.get("subdir", ""),
        (options.get("commit") or options.get("checksum") or "").lower(),
        None if keep is None else keep.lower() in ("", "1", "true"),
    )
