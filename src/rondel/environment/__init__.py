"""The environment that all stages of a run share: image, workspace, DVC remote, host variables, output."""

WORK = "/work"
"""The path of the workspace in a container."""
