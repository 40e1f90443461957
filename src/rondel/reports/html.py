"""HTML pages, rendered from the Jinja2 templates in ``templates``.

The Python modules prepare frozen values and the templates hold all markup, so that
autoescape covers everything that comes from a run. A page is one file without scripts
and loads nothing: MLflow shows it in a sandboxed frame, and CI systems serve it as an artifact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table on a page; ``kind`` decides how its cells look."""

    head: str = ""
    kind: Literal["text", "code", "number", "mark"] = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """A table on a page."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    def without_empty_columns(self) -> Table:
        """The same table without columns that are empty in every row."""
        kept = [index for index in range(len(self.columns)) if any(row[index] for row in self.rows)]
        return Table(
            tuple(self.columns[index] for index in kept),
            tuple(tuple(row[index] for index in kept) for row in self.rows),
        )


def render(template: str, **values: object) -> str:
    """The page that a template makes of these values."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("rondel.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # A process renders a template once: optimizing it takes longer than it saves.
        optimized=False,
        auto_reload=False,
    )
