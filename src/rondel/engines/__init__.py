"""Which engine runs the containers: discovery, choice, execution mode."""
