"""Repeats the failed stage of any run on this machine, from its capsule, git and the DVC remote."""
