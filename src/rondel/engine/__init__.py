"""The embedded engine: serves the Dagger API to the real client on one Linux machine.

It needs no daemon, no Docker and no root, and it is independent of the rest of
Rondel: it imports only :mod:`rondel.errors`.
"""
