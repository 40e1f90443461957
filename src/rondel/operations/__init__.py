"""The operations of a stage, one folder each."""
