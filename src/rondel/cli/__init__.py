"""The command line: one module per command, loaded when the command runs."""

from rondel.cli.main import main

__all__ = ["main"]
