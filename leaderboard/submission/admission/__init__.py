"""What becomes of a submission without a fault: the tier that each record earned, and its place."""
