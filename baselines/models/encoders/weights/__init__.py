"""Weights in files: read as data, and recognised by their names and shapes."""
