"""Records in, numbers out: each question about scores is answered here once."""
