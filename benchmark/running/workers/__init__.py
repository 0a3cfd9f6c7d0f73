"""Carries out the cells of a plan in tasks: in this process, in others, or on other machines."""
