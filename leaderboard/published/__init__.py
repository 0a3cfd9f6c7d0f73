"""Published records: their fields, files and checks."""
