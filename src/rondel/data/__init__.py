"""DVC projects, parameters, remotes, the workspace, and writing results to the working tree.

Importing this package imports neither DVC nor a web server.
"""

from rondel.data.inputs import stage_inputs
from rondel.data.model import DvcProject, DvcStage, Out, ParamSource, StageInputs, TrackedFile
from rondel.data.params import known_params
from rondel.data.project import find_stage, load_project
from rondel.data.workspace import workspace_excludes, workspace_files

__all__ = [
    "DvcProject",
    "DvcStage",
    "Out",
    "ParamSource",
    "StageInputs",
    "TrackedFile",
    "find_stage",
    "known_params",
    "load_project",
    "stage_inputs",
    "workspace_excludes",
    "workspace_files",
]
