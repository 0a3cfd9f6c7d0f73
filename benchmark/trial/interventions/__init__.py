"""What altering parts of an image does to a model, shared by the protocols that alter some."""
