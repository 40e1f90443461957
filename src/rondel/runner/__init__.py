"""Executes a plan: engine, stages at once, cancellation, the capsule at every checkpoint."""
