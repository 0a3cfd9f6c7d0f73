"""Reference models with their committed weights."""
