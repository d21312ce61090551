"""Checks of this machine and of cells: what runs here, and whether it computes what it should."""

from elman.checks.cell import check
from elman.checks.doctor import examine, findings
from elman.checks.machine import facts
from elman.checks.trial import Shape, Subject

__all__ = ["Shape", "Subject", "check", "examine", "facts", "findings"]
