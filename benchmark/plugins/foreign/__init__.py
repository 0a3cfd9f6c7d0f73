"""Code of others in files, which is run in a copy of the process first."""
