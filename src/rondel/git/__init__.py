"""Git, by its command line: the state of the code, the repository for a stage, results as commits."""
