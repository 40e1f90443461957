"""CI wrappers: files of GitLab and Jenkins, made from the pipeline, one line of work per job."""

from rondel.wrappers.jobs import Job, Layout, jobs_of
from rondel.wrappers.kinds import WRAPPERS, Wrapper
from rondel.wrappers.regions import Drift, drift, merge

__all__ = ["WRAPPERS", "Drift", "Job", "Layout", "Wrapper", "drift", "jobs_of", "merge"]
