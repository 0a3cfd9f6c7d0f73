"""The way in to cohorts in folders of files, as documented: read one, or write one."""

from baselines.cohorts.files.export import write_cohort
from baselines.cohorts.files.reader import read_cohort

__all__ = ["read_cohort", "write_cohort"]
