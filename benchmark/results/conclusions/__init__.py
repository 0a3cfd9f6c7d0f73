"""What results come to in plain words: how large a score is, and a sentence for each method."""
