"""Runs commands in the job's own container, on machines that allow no other.

Many CI jobs already run in a container that forbids user namespaces. There, commands run
directly in that container, one at a time: the engine puts a value's files in place before a
command and removes them after it. This isolates nothing; an operation that needs isolation
fails with an error that says what to do.
"""

from rondel.engine.inplace.sandbox import NOT_IN_PLACE, InPlaceSandbox, NeedsIsolation

__all__ = ["NOT_IN_PLACE", "InPlaceSandbox", "NeedsIsolation"]
