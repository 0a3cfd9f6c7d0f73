"""Submissions: bundles, their checks, and cells that are run again."""
