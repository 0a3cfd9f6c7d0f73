"""Subjects: bootstrap, significance, simultaneous ranks; arrays in, intervals out."""
