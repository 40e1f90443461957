"""Runs the failed stage of any run here again: from its capsule, the git repository and the DVC remote."""
