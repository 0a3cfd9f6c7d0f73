"""Protocols of suite v2, whose scores are what a map owes to the network."""
