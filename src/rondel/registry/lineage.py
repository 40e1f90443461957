"""The lineage of a model version: its tags, its model card, and the conditions of promotion."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TAG_LIMIT = 4900
CARD_LIMIT = 4900

REGISTRATION = "rondel.registration"
SOURCE = "rondel.source"
"""The tag with the address of the logged model; GitLab's versions have no field for it."""
GATE = "rondel.gate"
METRICS = "rondel.metrics"
EVALUATION = "rondel.evaluation"
"""The tag with what the metrics were measured with. A later gate compares it with its own."""
_LIMITS = """The metrics hold for the data above only, not for other places, times or
populations. Slices that are not listed were not evaluated."""
_TEXTS = {
    "git_commit": "rondel.git.commit",
    "git_remote": "rondel.git.remote",
    "image": "rondel.image",
    "run": "rondel.run",
    "capsule": "rondel.capsule",
    "ci_job": "rondel.ci.job",
    "pipeline": "rondel.pipeline",
}
_DOCUMENTS = {
    "inputs": "rondel.data.in",
    "outputs": "rondel.data.out",
    "params": "rondel.params",
    "overrides": "rondel.overrides",
    "metrics": METRICS,
    "evaluation": EVALUATION,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """What a version was made from, and how it was evaluated.

    ``inputs`` and ``outputs`` map paths to DVC hashes. ``gate`` is ``passed``,
    ``failed`` or ``none``; ``gate_rules`` describes the result of each rule.
    ``overrides`` are parameters from ``-P``: with them, the commit alone does not
    say what was trained. ``evaluation`` is what the metrics were measured with.
    """

    run: str = ""
    pipeline: str = ""
    git_commit: str = ""
    git_dirty: bool = False
    git_remote: str = ""
    image: str = ""
    capsule: str = ""
    ci_job: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    evaluation: Mapping[str, str] = field(default_factory=dict)
    gate: str = "none"
    gate_rules: Sequence[str] = ()

    def tags(self) -> dict[str, str]:
        """The tags of a version. A value that is too long for one tag continues in ``NAME.1`` and so on."""
        tags = {tag: str(getattr(self, name)) for name, tag in _TEXTS.items() if getattr(self, name)}
        tags["rondel.git.dirty"] = "true" if self.git_dirty else "false"
        tags[GATE] = self.gate
        for number, rule in enumerate(self.gate_rules, start=1):
            tags[f"{GATE}.rule.{number:02d}"] = rule[:TAG_LIMIT]
        for name, tag in _DOCUMENTS.items():
            values = dict(getattr(self, name))
            if values or name not in {"overrides", "evaluation"}:
                tags |= _split(tag, json.dumps(values, sort_keys=True, default=str))
        return tags

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> Self:
        """The lineage from tags that :meth:`tags` wrote; missing tags leave fields empty."""
        fields: dict[str, Any] = {name: tags.get(tag, "") for name, tag in _TEXTS.items()}
        for name, tag in _DOCUMENTS.items():
            fields[name] = tagged_document(tags, tag)
        rules = sorted(key for key in tags if key.startswith(f"{GATE}.rule."))
        return cls(
            **fields,
            git_dirty=tags.get("rondel.git.dirty") != "false",
            gate=tags.get(GATE, "none"),
            gate_rules=tuple(tags[key] for key in rules),
        )


def unmet_conditions(lineage: Lineage, *, missing: Sequence[str], commit_problem: str) -> list[str]:
    """The conditions that keep a version from becoming champion; empty if it may.

    A condition that can't be checked is not met. ``missing`` are the data files that
    the remote does not have. ``commit_problem`` says why the repository here does not
    have the commit, or can't tell; it is empty if it has the commit.
    """
    found = []
    if lineage.gate != "passed":
        found.append("it never went through a gate" if lineage.gate == "none" else "its gate was not passed")
    if lineage.git_dirty:
        found.append(
            "it was made from a tree with uncommitted changes: commit them and register again "
            "(unchanged stages do not run again)"
        )
    if not lineage.git_commit:
        found.append("its git commit is not recorded")
    elif commit_problem:
        found.append(commit_problem)
    if not lineage.inputs and not lineage.outputs:
        found.append("the hashes of its data are not recorded")
    if not lineage.image:
        found.append("the image that it was made in is not recorded")
    if not lineage.run:
        found.append("the run that made it is not recorded")
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        found.append(f"its data is not in the remote: {shown}; upload it with `dvc push`")
    return found


def model_card(model: str, lineage: Lineage) -> str:
    """The version's description: a short model card in Markdown."""
    code = f"commit `{lineage.git_commit[:12]}`" if lineage.git_commit else "an unknown commit"
    dirty = " **with uncommitted changes**" if lineage.git_dirty else ""
    plain = {name: value for name, value in lineage.metrics.items() if "[" not in name}
    sliced = {name: value for name, value in lineage.metrics.items() if "[" in name}
    parts = [
        f"# {model}",
        f"Made by run `{lineage.run or '?'}` of `{lineage.pipeline or '?'}` from {code}{dirty}"
        + (f", [CI job]({lineage.ci_job})" if lineage.ci_job else "")
        + f". Image: `{lineage.image or '?'}`.",
        "## Gate: " + lineage.gate + "\n\n" + "\n".join(f"- {rule}" for rule in lineage.gate_rules),
        "## Metrics\n\n" + _table("metric", plain),
        "## Slices\n\n" + _slices(sliced) if sliced else "",
        "## Data\n\n" + _data("given", lineage.inputs) + _data("made by the run's stages", lineage.outputs),
        "## Parameters\n\n"
        + "\n".join(
            f"- `{name}` = {value}" + (" (given with -P)" if name in lineage.overrides else "")
            for name, value in lineage.params.items()
        ),
        f"## Limits\n\n{_LIMITS}",
    ]
    card = "\n\n".join(part.rstrip() for part in parts if part)
    return card if len(card) <= CARD_LIMIT else card[: CARD_LIMIT - 2] + "\n…"


def _table(head: str, values: Mapping[str, float]) -> str:
    if not values:
        return "none recorded"
    rows = [f"| {name} | {value:.6g} |" for name, value in sorted(values.items())]
    return "\n".join([f"| {head} | value |", "|---|---:|", *rows])


def slice_table(metrics: Mapping[str, float]) -> list[tuple[str, ...]]:
    """The metrics of slices as rows, one for each slice, after a header row. Empty without slices."""
    found: dict[str, dict[str, str]] = {}
    for name, value in metrics.items():
        metric, bracket, part = name.partition("[")
        if bracket:
            found.setdefault(part.rstrip("]"), {})[metric] = f"{value:.4g}"
    if not found:
        return []
    names = list(dict.fromkeys(name for values in found.values() for name in values))
    return [
        ("slice", *names),
        *((part, *(row.get(name, "") for name in names)) for part, row in found.items()),
    ]


def _data(what: str, hashes: Mapping[str, str]) -> str:
    return "".join(f"- `{path}` {digest} ({what})\n" for path, digest in hashes.items())


def _slices(metrics: Mapping[str, float]) -> str:
    head, *rows = slice_table(metrics)
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(head) - 1), *lines[1:]])


def _split(tag: str, text: str) -> dict[str, str]:
    parts = [text[start : start + TAG_LIMIT] for start in range(0, len(text), TAG_LIMIT)]
    return {tag if number == 0 else f"{tag}.{number}": part for number, part in enumerate(parts)}


def tagged_document(tags: Mapping[str, str], tag: str) -> dict[str, Any]:
    """The JSON object in a tag and those that continue it; empty if there is none."""
    text, number = tags.get(tag, ""), 1
    while f"{tag}.{number}" in tags:
        text += tags[f"{tag}.{number}"]
        number += 1
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
