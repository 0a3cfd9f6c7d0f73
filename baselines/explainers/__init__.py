"""Attribution methods; each file holds a family."""
