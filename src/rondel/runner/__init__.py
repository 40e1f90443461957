"""Prepares a run, decides which stages run, executes them, and records each checkpoint in the capsule."""
