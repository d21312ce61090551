"""Checks of this machine: what runs here, and whether it computes what it should."""

from elman.checks.doctor import examine, findings
from elman.checks.machine import facts

__all__ = ["examine", "facts", "findings"]
