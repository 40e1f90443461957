"""The git repository as a stage gets it: history and index, but neither hooks nor the machine's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rondel.git.command import git_output
from rondel.secrets.logins import without_login

KEPT = ("objects", "packed-refs", "refs", "reftable", "shallow")
"""What is history in a repository's folder. Logs, hooks and configuration are the machine's own."""

_CONFIG = r"^(core\.(filemode|ignorecase|autocrlf|eol|symlinks)|extensions\.(objectformat|refstorage))$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Where the parts of a repository lie on this machine.

    ``folder`` holds what all working trees share; ``index`` is that of this
    one, None where the project is but a part of it. ``alternates`` are folders
    with further objects. ``config`` is the whole configuration that a stage gets.
    """

    folder: Path
    head: str
    config: str
    index: Path | None = None
    alternates: tuple[Path, ...] = ()


def head_commit(root: Path) -> str | None:
    """The commit that ``root`` is at; None without a repository, without git, and before the first commit."""
    return (git_output(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") or "").strip() or None


def read_repository(root: Path) -> Repository | None:
    """The repository that ``root`` lies in: also of a linked worktree, a submodule, a shallow clone."""
    found = git_output(root, "rev-parse", "--absolute-git-dir", "--git-common-dir", "--show-prefix")
    if found is None:
        return None
    own, common, prefix = [*found.split("\n"), "", ""][:3]
    folder = (root / common).resolve()
    try:
        head = Path(own, "HEAD").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    index = Path(own, "index")
    return Repository(
        folder=folder,
        head=head,
        config=_config(root),
        index=index if index.is_file() and not prefix else None,
        alternates=_alternates(folder / "objects"),
    )


def _alternates(objects: Path) -> tuple[Path, ...]:
    """The folders that ``git clone --reference`` and `--shared` leave objects in, and theirs in turn."""
    found: dict[Path, None] = {}
    queue = [objects]
    while queue:
        here = queue.pop()
        try:
            lines = (here / "info" / "alternates").read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        for line in lines:
            place = (here / line).resolve()
            if line and not line.startswith("#") and place.is_dir() and place not in found:
                found[place] = None
                queue.append(place)
    return tuple(found)


def _config(root: Path) -> str:
    """The settings that the objects and files need; a remote's address comes without its password."""
    lines = (git_output(root, "config", "--get-regexp", _CONFIG) or "").splitlines()
    values = [line.partition(" ") for line in lines]
    sections: dict[str, list[str]] = {"core": ["repositoryformatversion = 1", "bare = false"]}
    for name, _, value in values:
        section, _, key = name.partition(".")
        sections.setdefault(section, []).append(f"{key} = {value}")
    if url := (git_output(root, "config", "--get", "remote.origin.url") or "").strip():
        escaped = without_login(url).replace("\\", "\\\\").replace('"', '\\"')
        sections['remote "origin"'] = [f'url = "{escaped}"', "fetch = +refs/heads/*:refs/remotes/origin/*"]
    return "".join(
        f"[{section}]\n" + "".join(f"\t{line}\n" for line in lines) for section, lines in sections.items()
    )
