"""Prints the packages of the Python that runs it, with their versions, as a JSON object."""

import json
from importlib import metadata

print(json.dumps({each.metadata["Name"]: each.version for each in metadata.distributions()}))
