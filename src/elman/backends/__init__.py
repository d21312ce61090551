"""What runs a program over a sequence."""

from elman.backends.choice import BACKENDS, choose, known, report
from elman.backends.contract import Backend, Call, Result

__all__ = ["BACKENDS", "Backend", "Call", "Result", "choose", "known", "report"]
