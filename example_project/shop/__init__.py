"""A small print and poster shop whose photographs are latent blobs."""
