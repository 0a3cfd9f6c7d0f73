"""Records of finished cells: identity, provenance, and the store that keeps them."""
