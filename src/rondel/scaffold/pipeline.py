"""The text of ``ci/main.py`` for an existing project."""

from __future__ import annotations

import json
import keyword
from typing import TYPE_CHECKING, Any

from rondel.scaffold.graph import stage_name, variable_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.scaffold.scan import ScannedProject

_OPTIONS = frozenset({"entry_point", "needs", "name", "timeout", "retries", "self"})
"""The names of ``pipeline.mlflow``'s own parameters."""


def pipeline_text(found: ScannedProject) -> str:
    """``ci/main.py``: a line for each stage, after the stages that it needs."""
    lines = ['"""The pipeline. List its stages with `dagger run python ci/main.py --list`."""', ""]
    names = variable_names([*found.dvc, *found.entry_points])
    stages = [
        *(_dvc(name, needs, names) for name, needs in found.dvc.items()),
        *(_mlflow(name, values, names[name]) for name, values in found.entry_points.items()),
    ]
    lines += ["from rondel import Pipeline", "", "pipeline = Pipeline()", "", *stages]
    return "\n".join([*lines, "", 'if __name__ == "__main__":', "    pipeline.main()", ""])


def _dvc(address: str, needs: tuple[str, ...], names: Mapping[str, str]) -> str:
    called = f", name={_quoted(stage_name(address))}" if stage_name(address) != address else ""
    after = f", needs=[{', '.join(names[need] for need in needs)}]" if needs else ""
    return f"{names[address]} = pipeline.dvc({_quoted(address)}{after}{called})"


def _mlflow(name: str, values: Mapping[str, Any], variable: str) -> str:
    plain = all(key.isidentifier() and not keyword.iskeyword(key) and key not in _OPTIONS for key in values)
    if plain:
        given = "".join(f", {key}={value!r}" for key, value in values.items())
        return f"{variable} = pipeline.mlflow({_quoted(name)}{given})"
    given = ", ".join(f"{key!r}: {value!r}" for key, value in values.items())
    return f"{variable} = pipeline.mlflow({_quoted(name)}, **{{{given}}})"


def _quoted(text: str) -> str:
    """A Python string literal in double quotes; JSON's escapes are valid in Python."""
    return json.dumps(text, ensure_ascii=False)
