"""Pixels: ranking, localisation, similarity, masks and imputers; tensors in, tensors out."""
