"""Compares two runs part by part, and explains why a stage ran."""

from rondel.parity.compare import PARTS, Difference, Parity, compare_runs
from rondel.parity.why import Why, explain

__all__ = ["PARTS", "Difference", "Parity", "Why", "compare_runs", "explain"]
