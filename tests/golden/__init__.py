"""Reference scores."""
