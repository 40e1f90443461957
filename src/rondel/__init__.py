"""Rondel: a portable ML pipeline SDK on the Dagger API."""

__version__ = "0.1.0"
