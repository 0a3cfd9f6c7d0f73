"""Carries out tasks on the machines of a Ray cluster."""
