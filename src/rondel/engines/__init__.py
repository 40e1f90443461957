"""Finds and chooses an engine, and opens a session of it."""
