"""Plugins of every kind in a package of their own."""
