"""Writes the reference pages that code decides: ``python docs/generate.py``."""

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
        "Each option is declared once, in `src/rondel/settings`. A flag beats the",
        "environment variable, which beats the key in `[tool.rondel]` of `pyproject.toml`.",
        "This page is made by `python docs/generate.py`.",
        "",
        "What an option concerns decides how far it goes:",
        "",
        "| concerns | recorded | `rondel reproduce` | `--resume` |",
        "|---|---|---|---|",
        "| the result: what is computed | yes | as it was | as it was |",
        "| the run: what it was asked to do | yes | no: nothing is pushed or committed | as it was |",
        "| the machine: where and with what it runs | as a fact | as it is here | as it is here |",
        "| the command: this one alone | no | no | no |",
        "",
        "`--resume` takes what the run was given as a flag, or as a variable that is not set now; flags of",
        "the new command win, and `[tool.rondel]` counts as it is now. Where data and MLflow are",
        "(`DVC_REMOTE_URL`, `MLFLOW_TRACKING_URI`) `reproduce` takes from this machine first.",
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


def engine() -> str:
    """The page of the fields that the embedded engine serves."""
    from rondel.engine.api.registry import FIELDS, TYPES
    from rondel.engine.api.schema import load
    from rondel.engine.api.served import load_resolvers

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
# What the embedded engine serves

The Dagger API of v0.21.8, to the unmodified `dagger-io` client from 0.19 on. A field that is not
served answers with an error that names it; the way out is a Dagger engine
([how to use one](../howto/use-a-dagger-engine.md)). How the engine works, and what it does not
promise, is in [its explanation](../explanation/engine.md); where images come from is in
[its own page](images.md). This page is made by `python docs/generate.py`.

Every object has an `id`, which is good for every session of the same store. `load…FromID` is
served for all types below; `node(id:)` is what the client uses. Introspection, variables, named
operations, aliases, fragments, `@include` and `@skip` work as GraphQL says."""


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
# What runs again, and what is served

What may change around a stage, and what becomes of it: `prepare` makes the data, `train` the model,
`evaluate` measures it in a function of its own and passes a gate. Each row is a test that compares the
plan, the outcome, the record and `rondel why`, and what lies in the working tree with what the project
makes as it is: `pytest tests/e2e/lineage`. This page is made from `tests/e2e/lineage/cases.yaml` by
`python docs/generate.py`.
"""


def lineage() -> str:
    """The table of the lineage cases."""
    import yaml

    cases = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    rows = []
    for case in cases:
        name = f"{case['case']}*" if case.get("embedded") else case["case"]
        states = " | ".join(state or "not asked for" for state in case["becomes"])
        rows.append(f"| {name} | {states} | {case['because']} |")
    head = ["| what changed | `prepare` | `train` | `evaluate` | because |", "|---|---|---|---|---|"]
    note = "\\* On the embedded engine: a Dagger engine does not tell which files a command opens."
    return "\n".join([LINEAGE_HEAD, f"{len(cases)} cases.", "", *head, *rows, "", note, ""])


def capsule_schema() -> str:
    """The JSON Schema of a capsule."""
    from rondel.record.codec import schema

    return json.dumps(schema(), indent=2) + "\n"


DVC_HEAD = """\
# What DVC can say, and what Rondel does

Rondel runs projects of DVC as they are. It decides by itself what runs, by
[the whole key](../explanation/when-a-stage-runs.md), and DVC fetches, keeps and pushes data. Here is what
`dvc.yaml`, `.dvc` files and `dvc.lock` can say, from the behaviour that DVC's own functional tests hold it
to. Each row has a test of its own. This page is made from `tests/e2e/dvc_rows.yaml` by
`python docs/generate.py`.
"""


def dvc() -> str:
    """The table of what DVC offers."""
    import yaml

    groups = yaml.safe_load(DVC_ROWS.read_text(encoding="utf-8"))
    rows = [row for group in groups for row in group["rows"]]
    works = sum(row.get("works", True) for row in rows)
    lines = [DVC_HEAD, f"{works} of {len(rows)} rows work; the others are marked with ✗."]
    for group in groups:
        lines += ["", f"## {group['group']}", "", "| what DVC has | | what Rondel does |", "|---|---|---|"]
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
