"""The frozen suites and what is published from their records."""
