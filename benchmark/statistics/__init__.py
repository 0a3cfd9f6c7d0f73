"""Inference over subjects: bootstrap, significance, ranks; arrays in, intervals out."""
