"""Cohorts made from a template, or read from the user's own folder."""
