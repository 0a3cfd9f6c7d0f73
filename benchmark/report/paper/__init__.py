"""Figures, tables and text of a paper, made from finished records and from experiments."""
