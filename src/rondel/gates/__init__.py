"""Gates: rules about metrics, and the verdict that all reports show.

Importing this package does not import the parser. :func:`parse_rules` imports it.
"""

from rondel.gates.evaluate import ChampionMetrics, evaluate
from rondel.gates.metrics import Metrics, metrics_from_mapping, read_metrics, stage_metrics
from rondel.gates.rules import Rule, check_rules, parse_rule, parse_rules
from rondel.gates.verdict import RuleResult, Verdict

__all__ = [
    "ChampionMetrics",
    "Metrics",
    "Rule",
    "RuleResult",
    "Verdict",
    "check_rules",
    "evaluate",
    "metrics_from_mapping",
    "parse_rule",
    "parse_rules",
    "read_metrics",
    "stage_metrics",
]
