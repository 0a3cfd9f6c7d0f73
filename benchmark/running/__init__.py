"""From a suite to committed records: plan, cells, engine."""
