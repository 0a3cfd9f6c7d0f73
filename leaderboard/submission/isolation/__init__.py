"""Runs a method in a process that holds nothing but networks, images and targets."""
