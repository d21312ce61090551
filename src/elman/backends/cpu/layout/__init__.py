"""Where everything stands: how phases are cut, what is shared out, and how much room it takes. No code is written."""
