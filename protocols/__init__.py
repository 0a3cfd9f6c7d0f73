"""Sanity protocols; one file is one protocol, and its stem is its name in the catalogue."""
