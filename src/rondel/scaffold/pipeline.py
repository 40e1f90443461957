"""The text of ``ci/main.py`` for what was found."""

from __future__ import annotations

import json
import keyword
from typing import TYPE_CHECKING, Any

from rondel.scaffold.graph import title, variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rondel.scaffold.adopt import Found

_OPTIONS = frozenset({"entry_point", "needs", "name", "timeout", "retries", "self"})
"""Names that `pipeline.mlflow` has for itself."""


def pipeline_text(found: Found) -> str:
    """``ci/main.py``: a line for each stage, those that others need before them."""
    lines = ['"""The pipeline, from what was there: `dagger run python ci/main.py --list`."""', ""]
    names = variables([*found.dvc, *found.points])
    stages = [
        *(_dvc(name, needs, names) for name, needs in found.dvc.items()),
        *(_mlflow(name, values, names[name]) for name, values in found.points.items()),
    ]
    lines += ["from rondel import Pipeline", "", "pipeline = Pipeline()", "", *stages]
    return "\n".join([*lines, "", 'if __name__ == "__main__":', "    pipeline.main()", ""])


def _dvc(address: str, needs: tuple[str, ...], names: Mapping[str, str]) -> str:
    called = f", name={_quoted(title(address))}" if title(address) != address else ""
    after = f", needs=[{', '.join(names[need] for need in needs)}]" if needs else ""
    return f"{names[address]} = pipeline.dvc({_quoted(address)}{after}{called})"


def _mlflow(name: str, values: Mapping[str, Any], word: str) -> str:
    plain = all(key.isidentifier() and not keyword.iskeyword(key) and key not in _OPTIONS for key in values)
    if plain:
        given = "".join(f", {key}={value!r}" for key, value in values.items())
        return f"{word} = pipeline.mlflow({_quoted(name)}{given})"
    given = ", ".join(f"{key!r}: {value!r}" for key, value in values.items())
    return f"{word} = pipeline.mlflow({_quoted(name)}, **{{{given}}})"


def _quoted(text: str) -> str:
    """A text in Python, in double quotes: what JSON escapes, Python reads."""
    return json.dumps(text, ensure_ascii=False)
