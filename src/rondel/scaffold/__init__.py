"""``rondel init``: the first files of a new project, or of an existing DVC or MLflow project."""

from rondel.scaffold.scan import ScannedProject, scan_project
from rondel.scaffold.write import edited_files, new_files, write_project

__all__ = ["ScannedProject", "edited_files", "new_files", "scan_project", "write_project"]
