"""Options, each declared once: flag, environment variable, ``[tool.rondel]`` key, help, provenance."""

from rondel.settings.ci import CI_OPTIONS, CiOptions
from rondel.settings.declare import Option
from rondel.settings.load import find_root, load_ci_options, load_settings
from rondel.settings.options import OPTIONS, Settings

__all__ = [
    "CI_OPTIONS",
    "OPTIONS",
    "CiOptions",
    "Option",
    "Settings",
    "find_root",
    "load_ci_options",
    "load_settings",
]
