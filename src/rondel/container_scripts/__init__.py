"""Programs that run inside a container, with the Python that is there."""
