"""Forecasts by straight lines: what a recurrent network stands on, and what it must beat."""

from __future__ import annotations

from elman.linear.adjustment import Adjustment
from elman.linear.blend import Blend, Line, Member
from elman.linear.many import choose_many

__all__ = ["Adjustment", "Blend", "Line", "Member", "choose_many"]
