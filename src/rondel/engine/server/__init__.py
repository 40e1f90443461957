"""HTTP in front of the API, and the life of a session."""
