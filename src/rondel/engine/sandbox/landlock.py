"""Keeps containers away from the machine's abstract Unix sockets.

Abstract sockets belong to a network namespace, and commands share the machine's: container
runtimes, X servers and session buses listen there, and many of them trust user 0.
"""

from __future__ import annotations

import functools

from rondel.files import landlock


@functools.cache
def close_abstract_sockets() -> bool:
    """Restrict this thread and its children, once; returns whether the kernel can."""
    if not can_close_abstract_sockets():
        return False
    try:
        landlock.close_abstract_sockets()
    except OSError:
        return False
    return True


def can_close_abstract_sockets() -> bool:
    """Whether the kernel supports :func:`close_abstract_sockets`; changes nothing."""
    return landlock.version() >= landlock.ABSTRACT_SOCKETS_SINCE
