"""Trained networks over HTTP: forecasts, classes, texts, and sessions that keep a state."""

from __future__ import annotations

from elman.choices.serve import Limits
from elman.serve.app import application
from elman.serve.served import Served

__all__ = ["Limits", "Served", "application"]
