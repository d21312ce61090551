"""Vector functions: how each row of the table of operations is written."""
