"""What medsanity ships to be scored: explainers, reference models and cohorts."""
