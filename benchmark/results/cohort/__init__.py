"""What there is to know of a cohort before anything is scored on it."""
