"""Verdicts and stages as OpenMetrics text, for GitLab's metrics reports and any Prometheus scraper.

https://prometheus.io/docs/specs/om/open_metrics_spec/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rondel.reports.formatting import TIMED_STATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rondel.gates import Verdict
    from rondel.record import StageRecord

_FAMILIES = (
    ("rondel_gate_passed", "1 if the gate passed, else 0."),
    ("rondel_gate_rule_passed", "1 if the rule of the gate holds, else 0."),
    ("rondel_metric", "A metric of the model that the gate checked."),
    ("rondel_champion_metric", "The same metric of the champion."),
)


def render_openmetrics(verdicts: Mapping[str, Verdict], stages: Sequence[StageRecord] = ()) -> str:
    """These verdicts by stage, ending with ``# EOF`` as the format requires.

    ``stages`` adds their times and metrics.
    """
    lines = _stages(stages) if stages else []
    for family, help_ in _FAMILIES:
        lines += [f"# TYPE {family} gauge", f"# HELP {family} {help_}"]
        for stage, verdict in verdicts.items():
            labels = {"stage": stage, "model": verdict.model or ""}
            lines += [
                f"{family}{_labels({**labels, **own})} {value:.17g}"
                for own, value in _samples(family, verdict)
            ]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _stages(stages: Sequence[StageRecord]) -> list[str]:
    lines = [
        "# TYPE rondel_stage_seconds gauge",
        "# UNIT rondel_stage_seconds seconds",
        "# HELP rondel_stage_seconds Wall time of the stage.",
    ]
    lines += [
        f"rondel_stage_seconds{_labels({'stage': record.name})} {record.seconds:.17g}"
        for record in stages
        if record.state in TIMED_STATES
    ]
    lines += [
        "# TYPE rondel_stage_metric gauge",
        "# HELP rondel_stage_metric A metric that the stage wrote.",
    ]
    return lines + [
        f"rondel_stage_metric{_labels({'stage': record.name, 'metric': name})} {value:.17g}"
        for record in stages
        for name, value in sorted(record.metrics.items())
    ]


def _samples(family: str, verdict: Verdict) -> Iterator[tuple[dict[str, str], float]]:
    match family:
        case "rondel_gate_passed":
            yield {}, float(verdict.passed)
        case "rondel_gate_rule_passed":
            seen: set[str] = set()
            for result in verdict.results:
                if result.rule not in seen:  # the labels of a sample have to be unique
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
