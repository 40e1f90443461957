"""Merges ``dvc.lock`` stage by stage, as text.

A stage's entry is taken over exactly as DVC wrote it, and every other line of
the file stays as it is, so that a merge shows in ``git diff`` as what it is.
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
    """The text of each stage's entry, from its name's line to the last of its lines.

    Raises DataError if the text is no lock file written in DVC's block style.
    """
    return {name: text[start:end] for name, (start, end) in _spans(text).items()}


def merge_lock(text: str | None, made: str, stages: Iterable[str]) -> str:
    """``text`` with the entries of ``stages`` as they stand in ``made``.

    Entries that ``made`` does not have stay as they were; new ones are put at
    the end. Raises DataError for a text that can't be merged.
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
    _spans(text)  # what is written has to be readable
    return text


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
        raise DataError("this is no lock file of DVC", place="dvc.lock")
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
        raise DataError("dvc.lock is not written as DVC writes it", place="dvc.lock")
    after = [other.start_mark.line for other, _ in root.value if other.start_mark.line > key.start_mark.line]
    end_of_stages = min(after, default=len(offsets) - 1)
    starts = [name.start_mark.line for name, _ in stages.value] + [end_of_stages]
    return {
        str(name.value): (offsets[starts[index]], offsets[starts[index + 1]])
        for index, (name, _) in enumerate(stages.value)
    }
