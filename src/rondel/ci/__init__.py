"""What a run does differently in a CI job: what it shows, what it reports, whom it trusts."""

from rondel.ci.detect import CiContext, detect
from rondel.ci.trust import restrict

__all__ = ["CiContext", "detect", "restrict"]
