# /// script
# dependencies = ["pyte>=0.8", "rich>=13"]
# ///
"""Records a run in a terminal as an SVG, for the README.

``uv run docs/record.py docs/images/run.svg python ci/main.py evaluate -P train.max_iter=300`` runs
the command in a pseudo-terminal and saves the final screen.
"""

from __future__ import annotations

import codecs
import io
import os
import pty
import shlex
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyte
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS, LINES = 104, 60
_NAMES = {"brown": "yellow", "brightblack": "bright_black", "brightbrown": "bright_yellow"}


def screen_after(command: Sequence[str]) -> Any:
    """The terminal screen after the command has ended."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.Stream(screen)
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    os.environ.update(COLUMNS=str(COLUMNS), LINES=str(LINES), TERM="xterm-256color")

    own = str(Path(sys.executable).parent)  # uv puts this script's environment first on the PATH; drop it
    os.environ["PATH"] = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != own)

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        stream.feed(decode(data).replace("\r\n", "\n").replace("\n", "\r\n"))
        return data

    pty.spawn(list(command), read)
    return screen


def row_text(row: Any) -> Text:
    """One line of the screen with its colours."""
    text = Text()
    for style, cells in groupby((row[column] for column in range(COLUMNS)), key=cell_style):
        text.append("".join(cell.data for cell in cells), style=style)
    text.rstrip()
    return text


def cell_style(cell: Any) -> str:
    """The Rich style of a cell."""
    words = ["bold"] if cell.bold else []
    if cell.fg != "default":
        name = _NAMES.get(cell.fg, cell.fg)
        words.append(f"#{name}" if len(name) == 6 and _is_hex(name) else name)
    return " ".join(words)


def _is_hex(text: str) -> bool:
    return all(letter in "0123456789abcdef" for letter in text)


def main() -> None:
    """Run, draw, save."""
    target, command = sys.argv[1], sys.argv[2:]
    screen = screen_after(command)
    rows = [row_text(screen.buffer[number]) for number in range(LINES)]
    while rows and not rows[-1].plain.strip():
        rows.pop()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {shlex.join(command)}", style="bold"))
    for row in rows:
        console.print(row, no_wrap=True, overflow="crop")
    console.save_svg(target, title="Rondel")


if __name__ == "__main__":
    main()
