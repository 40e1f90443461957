"""Verdicts as OpenMetrics text, for GitLab's metrics reports and any Prometheus scraper.

https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rondel.gates import Verdict

_FAMILIES = (
    ("rondel_gate_passed", "Whether the gate is passed (1) or not (0)."),
    ("rondel_gate_rule_passed", "Whether a rule of the gate holds (1) or not (0)."),
    ("rondel_metric", "A metric of the model that the gate saw."),
    ("rondel_champion_metric", "The same metric of the champion."),
)


def render_openmetrics(verdicts: Mapping[str, Verdict]) -> str:
    """The exposition of these verdicts, by stage; ends with ``# EOF`` as the format wants it."""
    lines = []
    for family, help_ in _FAMILIES:
        lines += [f"# TYPE {family} gauge", f"# HELP {family} {help_}"]
        for stage, verdict in verdicts.items():
            labels = {"stage": stage, "model": verdict.model or ""}
            lines += [
                f"{family}{_labels({**labels, **own})} {value:.17g}"
                for own, value in _samples(family, verdict)
            ]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _samples(family: str, verdict: Verdict) -> Iterator[tuple[dict[str, str], float]]:
    match family:
        case "rondel_gate_passed":
            yield {}, float(verdict.passed)
        case "rondel_gate_rule_passed":
            seen: set[str] = set()
            for result in verdict.results:
                if result.rule not in seen:  # a sample's labels have to be unique
                    seen.add(result.rule)
                    yield {"rule": result.rule}, float(result.passed)
        case "rondel_metric":
            for name, value in sorted(verdict.metrics.items()):
                yield {"metric": name}, value
        case _:
            for name, value in sorted(verdict.champion_metrics.items()):
                yield {"metric": name, "version": verdict.champion_version or ""}, value


def _labels(labels: Mapping[str, str]) -> str:
    parts = (f'{name}="{_escape(value)}"' for name, value in labels.items() if value)
    return "{" + ",".join(parts) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
