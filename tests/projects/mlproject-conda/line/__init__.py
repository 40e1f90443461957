"""A straight line through points."""
