"""What every plugin owes, checked over all of them."""
