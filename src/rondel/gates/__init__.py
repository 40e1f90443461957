"""Gates: rules over metrics, and the one verdict that every surface shows.

Importing this package does not import the parser; :func:`parse_rules` does.
"""

from rondel.gates.evaluate import ChampionMetrics, evaluate
from rondel.gates.made import made_metrics
from rondel.gates.metrics import Metrics, metrics_from_mapping, read_metrics
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
    "made_metrics",
    "metrics_from_mapping",
    "parse_rule",
    "parse_rules",
    "read_metrics",
]
