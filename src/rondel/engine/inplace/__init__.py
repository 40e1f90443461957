"""Running commands in the job's own container, where the machine allows no other.

Many CI jobs already run in a container that forbids user namespaces. There, commands
run in that container itself, one at a time: what a value has beyond the machine's own
files is put in its place before a command, and taken away again after it. It isolates
nothing; what needs isolation answers with an error that says what to do.
"""

from rondel.engine.inplace.sandbox import NOT_IN_PLACE, InPlaceSandbox, NeedsIsolation

__all__ = ["NOT_IN_PLACE", "InPlaceSandbox", "NeedsIsolation"]
