"""Text of a paper: captions, methods, the checklist, and how all of it is set."""
