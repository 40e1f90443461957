"""Writes the reference pages that code decides: ``python docs/generate.py``."""

from __future__ import annotations

import inspect
from pathlib import Path

from rondel import errors
from rondel.settings.options import OPTIONS, Option

REFERENCE = Path(__file__).resolve().parent / "reference"


def options() -> str:
    """The page of all options: flag, variable, key, default."""
    lines = [
        "# Options",
        "",
        "Each option is declared once, in `src/rondel/settings/options.py`. A flag beats the",
        "environment variable, which beats the key in `[tool.rondel]` of `pyproject.toml`.",
        "This page is made by `python docs/generate.py`.",
        "",
        "| option | flag | variable | key | default |",
        "|---|---|---|---|---|",
    ]
    for option in OPTIONS:
        cells = (_flags(option), option.env, option.key, _default(option))
        written = " | ".join(f"`{cell}`" if cell else "" for cell in cells)
        lines.append(f"| {option.help} | {written} |")
    return "\n".join([*lines, ""])


def exit_codes() -> str:
    """The page of exit codes, one for each class of error."""
    found = {
        kind.exit_code: (inspect.getdoc(kind) or "").splitlines()[0]
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.RondelError)
    }
    found[errors.RondelError.exit_code] = "An error of Rondel's that has no code of its own."
    lines = [
        "# Exit codes",
        "",
        "The exit code of `python ci/main.py` says what kind of end a run had. This page is",
        "made by `python docs/generate.py`.",
        "",
        "| code | meaning |",
        "|---:|---|",
        "| 0 | Everything that was asked for ran, or did not have to. |",
    ]
    lines += [f"| {code} | {meaning} |" for code, meaning in sorted(found.items())]
    return "\n".join([*lines, ""])


def _flags(option: Option) -> str:
    flags = ", ".join(option.flags)
    if option.kind == "switch":
        flags += "".join(
            f", --no-{flag.removeprefix('--')}" for flag in option.flags if flag.startswith("--")
        )
    return f"{flags} {option.metavar}" if option.metavar and flags else flags


def _default(option: Option) -> str:
    if option.default in (None, "", ()):
        return ""
    return str(option.default).lower() if isinstance(option.default, bool) else str(option.default)


PAGES = {"options.md": options, "exit-codes.md": exit_codes}


def main() -> None:
    """Write every page."""
    for name, render in PAGES.items():
        (REFERENCE / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
