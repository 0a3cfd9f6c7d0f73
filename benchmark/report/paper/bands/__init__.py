"""Bands of a figure, which stand below each other: rows of methods, curves, matrices, scatters."""
