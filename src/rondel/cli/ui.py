"""``rondel ui``: opens or stops the project's MLflow server."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rondel.cli.arguments import Parser
from rondel.settings import find_root, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Start the MLflow server if needed, print its address and, on a desktop, open it."""
    parser = Parser(prog="rondel ui", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--stop", action="store_true", help="stop the local server")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    arguments = parser.parse_args(list(argv))
    root = find_root(Path.cwd())
    from rondel import tracking
    from rondel.ci.providers import detect

    if arguments.stop:
        print("the MLflow server is stopped" if tracking.stop(root) else "no MLflow server runs here")
        return 0
    settings = load_settings(root, {}, os.environ)
    linger = 0 if detect(os.environ) else settings.linger
    endpoint, lease = tracking.connect(root, os.environ, uri=settings.tracking_uri, linger=linger)
    try:
        print(endpoint.uri)
        page = tracking.open_page(root, endpoint) if lease is not None else None
        if not arguments.no_browser and sys.stdout.isatty() and _desktop():
            import webbrowser

            webbrowser.open(page.as_uri() if page else endpoint.uri)
        if page is not None:
            print(f"to sign in: open {page}, or paste the token from {page.with_name('login')}")
            print(f"it ends {linger // 60} minutes after its last use; `rondel ui --stop` ends it now")
    finally:
        if lease is not None:
            lease.release()
    return 0


def _desktop() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
