"""Figures that a report and a board draw from readings, records and maps."""
