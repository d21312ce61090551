"""A call: its tensors, a plan made ready for them, and the ways through torch."""
