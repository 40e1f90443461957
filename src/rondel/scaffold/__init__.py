"""``rondel init``: a project's first files, new or for a DVC or MLflow project that is there."""

from rondel.scaffold.adopt import Found, adopt
from rondel.scaffold.write import added, apply, plan

__all__ = ["Found", "added", "adopt", "apply", "plan"]
