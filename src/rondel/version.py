"""The version of Rondel."""

__version__ = "0.1.0"
