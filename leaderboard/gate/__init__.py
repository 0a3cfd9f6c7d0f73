"""The gate for continuous integration: baseline, measurement, decision, report."""
