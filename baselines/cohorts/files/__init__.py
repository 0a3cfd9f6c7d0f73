"""Cohorts in a folder of files: a table of subjects, their images and masks, a ``cohort.toml``."""
