"""Merges ``dvc.lock`` stage by stage, as text.

A stage's entry is copied exactly as DVC wrote it, and all other lines stay as they
are, so that ``git diff`` shows only what changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from rondel.errors import DataError
from rondel.files.yaml_file import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

_EMPTY = "schema: '2.0'\nstages:\n"


def stage_blocks(text: str) -> dict[str, str]:
    """The text of each stage's entry, from the line with its name to its last line.

    Raises DataError if the text is not a lock file in DVC's block style.
    """
    return {name: text[start:end] for name, (start, end) in _spans(text).items()}


def merge_lock(text: str | None, made: str, stages: Iterable[str]) -> str:
    """Replace the entries of ``stages`` in ``text`` by those in ``made``.

    Entries that ``made`` does not have stay; new ones are appended. Raises DataError
    for a text that can't be merged.
    """
    if text is None or not text.strip():
        text = _EMPTY
    new = stage_blocks(made)
    spans = _spans(text)
    for name in sorted(
        (name for name in stages if name in new), key=lambda n: spans.get(n, (0, 0))[0], reverse=True
    ):
        if name in spans:
            start, end = spans[name]
            text = text[:start] + new[name] + text[end:]
    for name in stages:
        if name in new and name not in spans:
            text = _append(text, new[name])
    _spans(text)  # check that the result can be parsed
    return text


def remove_entries(text: str, stages: Iterable[str]) -> str | None:
    """``text`` without the entries of ``stages``; None if no entry is left.

    Raises DataError if the text is not a lock file in DVC's block style.
    """
    spans = _spans(text)
    for name in sorted((name for name in stages if name in spans), key=lambda n: spans[n], reverse=True):
        start, end = spans.pop(name)
        text = text[:start] + text[end:]
    return text if spans else None


def _append(text: str, block: str) -> str:
    lines = text.rstrip("\n") + "\n"
    if lines.rstrip().endswith("stages: {}"):
        lines = lines.rstrip()[: -len(" {}")] + "\n"
    elif "stages:" not in lines:
        lines += "stages:\n"
    return lines + block


def _spans(text: str) -> dict[str, tuple[int, int]]:
    parse_yaml(text, "dvc.lock")
    root = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise DataError("this is not a DVC lock file", place="dvc.lock")
    offsets = [0]
    for line in text.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    top = {key.value: (key, value) for key, value in root.value}
    if "stages" not in top:
        return {}
    key, stages = top["stages"]
    if not isinstance(stages, yaml.MappingNode):
        return {}
    if stages.flow_style:
        if not stages.value:
            return {}
        raise DataError("dvc.lock is not in the style that DVC writes", place="dvc.lock")
    after = [other.start_mark.line for other, _ in root.value if other.start_mark.line > key.start_mark.line]
    end_of_stages = min(after, default=len(offsets) - 1)
    starts = [name.start_mark.line for name, _ in stages.value] + [end_of_stages]
    return {
        str(name.value): (offsets[starts[index]], offsets[starts[index + 1]])
        for index, (name, _) in enumerate(stages.value)
    }
