"""``python -m elman``: the command without its script."""

from elman.cli import main

main()
