"""Formats of images and masks, a file for each."""
