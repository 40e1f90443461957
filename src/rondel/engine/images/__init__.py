"""Images: references, registries, layouts, layers, Containerfiles, and the host image."""
