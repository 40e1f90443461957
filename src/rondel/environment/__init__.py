"""What the stages of a run share: image, workspace, DVC remote, host environment, output stream."""

WORK = "/work"
"""Where a container has the workspace."""
