"""Attribution methods; one file is one family."""
