"""The way in to cohorts in folders of files, as documented: read one, or write one."""

from baselines.cohorts.files.export import write_cohort
from baselines.cohorts.files.reader import FolderSource, read_cohort

__all__ = ["NiftiSource", "read_cohort", "write_cohort"]

NiftiSource = FolderSource
"""The name that it had before it read other formats than NIfTI."""
