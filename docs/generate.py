"""Generates the reference pages that come from code: ``python docs/generate.py``."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

from rondel import errors
from rondel.settings import CI_OPTIONS, OPTIONS, Option

REFERENCE = Path(__file__).resolve().parent / "reference"
DVC_ROWS = Path(__file__).resolve().parents[1] / "tests/e2e/dvc_rows.yaml"
CASES = Path(__file__).resolve().parents[1] / "tests/e2e/lineage/cases.yaml"


def options() -> str:
    """The page of all options: flag, variable, key, default."""
    lines = [
        "# Options",
        "",
        "A flag overrides the environment variable, and the variable overrides the key in `[tool.rondel]` of",
        "`pyproject.toml`. `python docs/generate.py` generates this page from the options' declarations.",
        "",
        "Each option concerns one of four things, which decides where it applies:",
        "",
        "| concerns | recorded | `rondel reproduce` | `--resume` |",
        "|---|---|---|---|",
        "| result: what is computed | yes | recorded value | recorded value |",
        "| run: what to run, and what to do with results | yes | ignored | recorded value |",
        "| machine: where and with what to run | for information | the value here | the value here |",
        "| command: this command only | no | ignored | ignored |",
        "",
        "`--resume` repeats the flags of the run, and its variables that are not set now. Flags of the new",
        "command override them, and `[tool.rondel]` applies as it is now.",
        "",
        "`rondel reproduce` never pushes or commits. For the addresses of data and MLflow (`DVC_REMOTE_URL`,",
        "`MLFLOW_TRACKING_URI`), it prefers this machine's values over those of the run.",
        "",
        "| option | flag | variable | key | default | concerns |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {option.help} | {_written(option)} | {option.concerns} |" for option in OPTIONS]
    lines += [
        "",
        "## CI",
        "",
        "The options of `rondel ci` and of `--commit`, for [GitLab](../howto/gitlab.md) and",
        "[Jenkins](../howto/jenkins.md). The flag is one of `rondel ci`. No run depends on these options, so",
        "no record has them.",
        "",
        "| option | flag | variable | key | default |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {option.help} | {_written(option)} |" for option in CI_OPTIONS]
    return "\n".join([*lines, ""])


def exit_codes() -> str:
    """The page of exit codes, one per error class."""
    found = {
        kind.exit_code: (inspect.getdoc(kind) or "").splitlines()[0]
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.RondelError)
    }
    found[errors.RondelError.exit_code] = "Any other error of Rondel."
    lines = [
        "# Exit codes",
        "",
        "The exit code of `python ci/main.py` says how the run ended. `python docs/generate.py` generates",
        "this page from the error classes.",
        "",
        "| code | meaning |",
        "|---:|---|",
        "| 0 | All requested stages ran or were cached. |",
    ]
    lines += [f"| {code} | {meaning} |" for code, meaning in sorted(found.items())]
    return "\n".join([*lines, ""])


def engine() -> str:
    """The page of the API fields that the embedded engine serves."""
    from rondel.engine.api.registry import FIELDS, TYPES
    from rondel.engine.api.resolvers import load_resolvers
    from rondel.engine.api.schema import load

    load_resolvers()
    schema = load()
    types = sorted({*(name for name, _ in FIELDS), *TYPES.values()} - {"Query"})
    lines = ENGINE_HEAD.splitlines()
    for name in ("Query", *types):
        definition = schema.types[name]
        rows, missing = [], []
        for field, declared in sorted(definition.fields.items()):
            if field == "id" or field.startswith(("load", "__")):
                continue
            known = FIELDS.get((name, field))
            if known is None and not _is_attribute(name, field):
                missing.append(field)
                continue
            arguments = f"({', '.join(declared.args)})" if declared.args else ""
            words = _first_sentence(known.resolver) if known is not None else "A property of the object."
            rows.append(f"| `{field}{arguments}` | {words} |")
        if not rows:
            continue
        lines += ["", f"## {name}", "", "| field | |", "|---|---|", *rows]
        if missing:
            lines += ["", "Not served: " + ", ".join(f"`{field}`" for field in missing) + "."]
    return "\n".join([*lines, ""])


ENGINE_HEAD = """\
# API of the embedded engine

The embedded engine serves the Dagger API v0.21.8 to the unmodified `dagger-io` client, version 0.19 or
newer. A field that it does not serve returns an error with the field's name; to use such fields, run on
[a Dagger engine](../howto/use-a-dagger-engine.md). See also
[how the engine works and what it does not promise](../explanation/engine.md), and
[images and Containerfiles](images.md). `python docs/generate.py` generates this page from the code.

Every object has an `id`, which is valid in every session on the same store. The client loads objects with
`node(id:)`; `load…FromID` also works for all types below. Introspection, variables, named operations,
aliases, fragments, `@include` and `@skip` follow the GraphQL specification."""


def _first_sentence(resolver: object) -> str:
    text = " ".join((inspect.getdoc(resolver) or "").split("\n\n")[0].split())
    return text.replace("|", "\\|").replace("``", "`")


def _is_attribute(type_name: str, field: str) -> bool:
    """Whether a field is answered from the value itself."""
    from rondel.engine.api.registry import TYPES, snake

    return any(snake(field) in dir(kind) for kind, name in TYPES.items() if name == type_name)


def _flags(option: Option) -> str:
    flags = ", ".join(option.flags)
    if option.kind == "switch":
        flags += "".join(
            f", --no-{flag.removeprefix('--')}" for flag in option.flags if flag.startswith("--")
        )
    return f"{flags} {option.metavar}" if option.metavar and flags else flags


def _written(option: Option) -> str:
    """How the option is written in each place: flag, variable, key; and its default."""
    cells = (_flags(option), option.env, option.key, _shown(option.default))
    return " | ".join(f"`{cell}`" if cell else "" for cell in cells)


def _shown(value: object) -> str:
    if value in (None, "", ()):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


LINEAGE_HEAD = """\
# What runs again, and what is reused

This table shows what happens to three stages after a change: `prepare` makes the data, `train` the model,
and `evaluate` is a Python function that measures the model and checks a gate. A stage that `ran` executed
its command; a `cached` one reused an earlier result; a `restored` one fetched files of it without running
the command. [When a stage runs](../explanation/when-a-stage-runs.md) explains the rules.

Each row is a test (`pytest tests/e2e/lineage`). It checks the plan, the outcome, the record and
`rondel why`, and compares the working tree with what the project's commands produce directly.
`python docs/generate.py` generates this page from `tests/e2e/lineage/cases.yaml`.
"""


def lineage() -> str:
    """The table of the lineage cases."""
    import yaml

    cases = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    rows = []
    for case in cases:
        name = f"{case['case']}*" if case.get("embedded") else case["case"]
        states = " | ".join(state or "not requested" for state in case["becomes"])
        rows.append(f"| {name} | {states} | {case['because']} |")
    head = ["| what changed | `prepare` | `train` | `evaluate` | reason shown |", "|---|---|---|---|---|"]
    note = "\\* On the embedded engine only: a Dagger engine does not report which files a command opens."
    return "\n".join([LINEAGE_HEAD, f"{len(cases)} cases.", "", *head, *rows, "", note, ""])


def capsule_schema() -> str:
    """The JSON Schema of a capsule."""
    from rondel.record.codec import schema

    return json.dumps(schema(), indent=2) + "\n"


DVC_HEAD = """\
# DVC features

Rondel runs DVC projects unchanged. It decides itself which stages run, by their
[whole key](../explanation/when-a-stage-runs.md), and uses DVC to fetch, store and push data. The tables
cover what `dvc.yaml`, `.dvc` files and `dvc.lock` can contain, based on DVC's own functional tests. Every
row has a test. `python docs/generate.py` generates this page from `tests/e2e/dvc_rows.yaml`.
"""


def dvc() -> str:
    """The tables of DVC features."""
    import yaml

    groups = yaml.safe_load(DVC_ROWS.read_text(encoding="utf-8"))
    rows = [row for group in groups for row in group["rows"]]
    works = sum(row.get("works", True) for row in rows)
    lines = [DVC_HEAD, f"{works} of {len(rows)} features work; ✗ marks the others."]
    for group in groups:
        lines += ["", f"## {group['group']}", "", "| feature | | what Rondel does |", "|---|---|---|"]
        lines += [
            f"| {row['feature']} | {'✓' if row.get('works', True) else '✗'} | {row['does']} |"
            for row in group["rows"]
        ]
    return "\n".join([*lines, ""])


PAGES = {
    "options.md": options,
    "exit-codes.md": exit_codes,
    "engine.md": engine,
    "lineage.md": lineage,
    "capsule.schema.json": capsule_schema,
    "dvc.md": dvc,
}


def main() -> None:
    """Write every page."""
    for name, render in PAGES.items():
        (REFERENCE / name).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
