"""``rondel engine status|check|prune``: shows, checks or shrinks the embedded engine's store."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.engines.session import engine_environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rondel.engine.store.store import Store


def main(argv: Sequence[str]) -> int:
    """Show the contents of the engine's store (status), check them (check), or shrink it (prune)."""
    parser = Parser(prog="rondel engine", description=main.__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="status|check|prune", parser_class=Parser
    )
    commands.add_parser("status", help="show the store's location and contents")
    check = commands.add_parser("check", help="forget what is damaged; exit code 1 if something was")
    check.add_argument("--deep", action="store_true", help="also compare contents, which takes longer")
    prune = commands.add_parser("prune", help="remove the least recently used layers")
    prune.add_argument(
        "--keep", metavar="SIZE", help="how much to keep, for example 5G, or 0 (default: engine.cache-size)"
    )
    arguments = parser.parse_args(list(argv))
    os.environ.update(engine_environment(Path.cwd(), os.environ))
    if arguments.command == "check":
        return _check(deep=arguments.deep)
    return _status() if arguments.command == "status" else _prune(arguments.keep)


def size(text: str, *, place: str = "--keep") -> int:
    """The bytes in ``5G``, ``300 MiB`` or ``0``. Raises ConfigurationError with ``place``."""
    from rondel.engine.store.budget import parse_size

    return parse_size(text, place=place)


def shown(count: int) -> str:
    """A number of bytes in a unit for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{value:.0f} {unit}" if unit in {"B", "KiB"} else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def _status() -> int:
    from rondel.engine.store.budget import budget_of

    with _store() as store:
        if store is None:
            return 0
        usage = store.usage()
        budget = budget_of(store.root, usage.collectable_bytes, os.environ)
        print(f"store    {store.root}")
    print(f"layers   {usage.layers}, {shown(usage.layer_bytes)}")
    print(f"blobs    {usage.blobs}, {shown(usage.blob_bytes)}")
    print(f"volumes  {usage.volumes}, {shown(usage.volume_bytes)}")
    print(f"results  {usage.results}")
    print(f"budget   {shown(budget)} for layers and blobs, {shown(usage.collectable_bytes)} used")
    print(f"free     {shown(usage.free_bytes)}")
    return 0


def _check(*, deep: bool) -> int:
    with _store() as store:
        if store is None:
            return 0
        found = store.check(deep=deep)
    print(f"checked {found.layers} layers and {found.blobs} blobs")
    for line in found.damaged:
        print(f"removed {line}")
    if found.damaged:
        print(f"forgot {found.forgotten} results, which will be made again")
    return 1 if found.damaged else 0


def _prune(keep: str | None) -> int:
    import anyio

    from rondel.engine.store.budget import budget_of

    with _store() as store:
        if store is None:
            return 0
        budget = size(keep) if keep is not None else budget_of(store.root, store.index.held(), os.environ)
        freed = anyio.run(store.collect, budget)
    print(f"freed {shown(freed)}")
    return 0


@contextmanager
def _store() -> Iterator[Store | None]:
    """The engine's store; None, with a message, if it does not exist."""
    from rondel.engine.namespace import become_root
    from rondel.engine.store.store import Store, default_root

    root = default_root()
    if not root.exists():
        print(f"{root}: does not exist yet")
        yield None
        return
    # As the engine does: other users can't remove the files of its layers.
    become_root()
    store = Store.open(root)
    try:
        yield store
    finally:
        store.close()
