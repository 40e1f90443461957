"""The HTTP server in front of the API, and the life of a session."""
