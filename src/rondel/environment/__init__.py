"""What the stages of a run share: image, workspace, DVC remote, host environment, output stream."""
