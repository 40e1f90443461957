"""The embedded engine: serves the Dagger API to the real client on one Linux machine.

It needs no daemon, no Docker and no root, and stands apart from the rest of
Rondel: it imports nothing of it but :mod:`rondel.errors`.
"""
