"""Concepts that a ``cohort.toml`` offers."""

from baselines.cohorts.files.concepts.reading import read_concepts

__all__ = ["read_concepts"]
