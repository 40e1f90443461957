"""Which engine the tests of whole pipelines run on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rondel.engines.choice import find_real_cli
from rondel.engines.discovery import RUNNER_HOST


def on_dagger() -> bool:
    """Whether a Dagger engine is given: named by Dagger's own variable, with a CLI for it on the PATH."""
    return bool(os.environ.get(RUNNER_HOST)) and find_real_cli(os.environ) is not None


def client_binary() -> Path:
    """The program that a Dagger client is to start its session with."""
    real = find_real_cli(os.environ) if on_dagger() else None
    return real or Path(sys.executable).with_name("rondel")
