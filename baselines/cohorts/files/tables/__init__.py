"""Tables of text: cells as spreadsheets save them, and columns as numbers or categories."""
