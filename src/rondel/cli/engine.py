"""``rondel engine status|prune``: the embedded engine's store."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def main(argv: Sequence[str]) -> int:
    """Show what the engine's store holds (status), or shrink it (prune)."""
    parser = Parser(prog="rondel engine", description=main.__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="status|prune", parser_class=Parser
    )
    commands.add_parser("status", help="where the store is, and what it holds")
    prune = commands.add_parser("prune", help="remove the least recently used layers")
    prune.add_argument("--keep", default="0", metavar="SIZE", help="leave this much, for example 5G (0)")
    arguments = parser.parse_args(list(argv))
    return _status() if arguments.command == "status" else _prune(size(arguments.keep))


def size(text: str) -> int:
    """Bytes of ``5G``, ``300 MiB``, ``0``. Raises ConfigurationError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise ConfigurationError(f"{text!r} is no size", hint="for example 5G or 300M", place="--keep")
    return int(float(match[1]) * UNITS[match[2].upper()])


def shown(count: int) -> str:
    """A number of bytes as people read it."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit in {"B", "KiB"} else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def _status() -> int:
    from rondel.engine.store.store import Store, default_root

    root = default_root()
    if not root.exists():
        print(f"{root}: nothing there yet")
        return 0
    _enter()
    store = Store.open(root)
    try:
        usage = store.usage()
    finally:
        store.close()
    print(f"store    {root}")
    print(f"layers   {usage.layers}, {shown(usage.layer_bytes)}")
    print(f"blobs    {usage.blobs}, {shown(usage.blob_bytes)}")
    print(f"volumes  {usage.volumes}, {shown(usage.volume_bytes)}")
    print(f"results  {usage.results}")
    print(f"free     {shown(usage.free_bytes)}")
    return 0


def _prune(budget: int) -> int:
    import anyio

    from rondel.engine.store.store import Store, default_root

    root = default_root()
    if not root.exists():
        print(f"{root}: nothing there yet")
        return 0
    _enter()
    store = Store.open(root)
    try:
        freed = anyio.run(store.collect, budget)
    finally:
        store.close()
    print(f"freed {shown(freed)}")
    return 0


def _enter() -> None:
    """Become what the engine is: its layers hold files that an ordinary user could not remove."""
    from rondel.engine.namespace import become_root

    become_root()
