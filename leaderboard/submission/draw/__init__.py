"""Holds the scores that a submission claims against those of people whom nobody has seen."""
