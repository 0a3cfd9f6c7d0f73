"""What the phantoms' generator draws with: smooth random fields, and scanners."""
