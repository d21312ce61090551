"""Forecasts by straight lines: what a recurrent network stands on, and what it must beat."""

from __future__ import annotations

from elman.linear.adjustment import Adjustment
from elman.linear.blend import Blend, Line, Member
from elman.linear.many import choose_many
from elman.linear.pooled import adjust_many, fit_many

__all__ = ["Adjustment", "Blend", "Line", "Member", "adjust_many", "choose_many", "fit_many"]
