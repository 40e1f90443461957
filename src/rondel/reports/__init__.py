"""Reports of a run for people and machines: console output, HTML, Markdown, JUnit and OpenMetrics."""
