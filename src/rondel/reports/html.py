"""What the HTML pages share: one look, and tables. No page needs a script or anything from the net.

A page has to be readable without its styles, too: Jenkins serves artifacts
under a policy that forbids them.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fff; --ink: #1c2024; --soft: #5d6670; --line: #d9dde2; --panel: #f5f6f8;
  --good: #1a7f37; --bad: #c62a35; --wait: #8a5a00; --one: #1f6fb2; --other: #c2571a;
}
@media (prefers-color-scheme: dark) { :root {
  --ground: #14171a; --ink: #e3e6ea; --soft: #98a2ad; --line: #343b43; --panel: #1d2126;
  --good: #5fbf6a; --bad: #ff7f78; --wait: #e0ac4a; --one: #6cb4f0; --other: #f0a060;
} }
* { box-sizing: border-box }
body {
  font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  margin: 0 auto; max-width: 72rem; padding: 1.5rem 1.25rem 4rem;
}
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .3rem }
h2 { font-size: 1.05rem; margin: 2.2rem 0 .5rem } h3 { font-size: .95rem; margin: 1.2rem 0 .3rem }
p { margin: .3rem 0 } a { color: var(--one) } code, pre { font: 12.5px/1.45 ui-monospace, monospace }
code { overflow-wrap: anywhere } td:first-child code { overflow-wrap: normal }
pre {
  background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem;
  overflow: auto; max-height: 32rem; white-space: pre-wrap; overflow-wrap: anywhere;
}
table { border-collapse: collapse; margin: .4rem 0 }
th { text-align: left; color: var(--soft); font-weight: 600 }
td, th { padding: .28rem 1rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.wide { overflow-x: auto } .soft { color: var(--soft) }
.good { color: var(--good) } .bad { color: var(--bad); font-weight: 600 } .wait { color: var(--wait) }
details { border-bottom: 1px solid var(--line); padding: .45rem 0 }
summary { cursor: pointer } summary b { margin-right: .4rem } details[open] > summary { margin-bottom: .4rem }
details > *:not(summary) { margin-left: 1.1rem }
figure { margin: 0 } figcaption { font-weight: 600; margin: .4rem 0 }
.side { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(min(18rem, 100%), 1fr)) }
.side img, .side svg { width: 100%; height: auto } .side svg text { font: 10px system-ui; fill: currentColor }
.grid { stroke: var(--line); stroke-width: .6 } polyline { fill: none; stroke-width: 1.8 }
.challenger { stroke: var(--one) } .champion { stroke: var(--other); stroke-dasharray: 5 4 }
.key { display: inline-block; width: 1.6rem; border-top: 3px solid var(--one); vertical-align: middle }
.key.other { border-top: 3px dashed var(--other) }
"""


def page(title: str, body: str, *, style: str = "") -> str:
    """A whole page; ``body`` is markup."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head>\n<body>{body}</body></html>\n"
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Iterable[int] = ()) -> str:
    """A table that scrolls in itself where it is too wide. Cells are markup, ``heads`` are text.

    Columns that are empty everywhere are left out.
    """
    right = set(numbers)
    kept = [place for place in range(len(heads)) if any(row[place] for row in rows)]

    def row(cells: Sequence[str], tag: str) -> str:
        inner = "".join(
            f'<{tag} class="n">{cells[place]}</{tag}>' if place in right else f"<{tag}>{cells[place]}</{tag}>"
            for place in kept
        )
        return f"<tr>{inner}</tr>"

    head = row([escape(text) for text in heads], "th") if any(heads) else ""
    return f'<div class="wide"><table>{head}{"".join(row(each, "td") for each in rows)}</table></div>'


def code(text: str) -> str:
    """Text as code."""
    return f"<code>{escape(text)}</code>"
