"""What the page of a report holds: its sections, and what its first screen answers."""
