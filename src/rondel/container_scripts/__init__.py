"""Programs that run inside a container, by another interpreter."""
