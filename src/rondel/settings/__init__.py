"""Options, each declared once: flag, environment variable, ``[tool.rondel]`` key, help, provenance."""

from rondel.settings.load import find_root, load_settings
from rondel.settings.options import OPTIONS, Option, Settings

__all__ = ["OPTIONS", "Option", "Settings", "find_root", "load_settings"]
