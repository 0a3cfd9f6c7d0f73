"""From published records to a board, a pure function."""
