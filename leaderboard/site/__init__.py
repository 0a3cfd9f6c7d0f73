"""Writes a board as web pages, figures and tables."""
