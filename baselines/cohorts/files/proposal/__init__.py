"""Proposes a ``cohort.toml`` for a folder of images, and says what it could not decide."""
