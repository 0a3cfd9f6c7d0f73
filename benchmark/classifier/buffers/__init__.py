"""Buffers of a network: which are constant, and how running statistics are taken anew."""
