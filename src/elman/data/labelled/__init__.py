"""Labelled sequences: reading, splitting, `.ts` files."""
