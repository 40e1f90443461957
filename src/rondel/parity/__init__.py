"""Two runs side by side: which input differs first, and what followed; and why a stage ran."""

from rondel.parity.compare import LAYERS, Difference, Parity, compare_runs
from rondel.parity.why import Why, explain

__all__ = ["LAYERS", "Difference", "Parity", "Why", "compare_runs", "explain"]
