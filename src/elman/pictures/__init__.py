"""Pictures, by matplotlib, drawn from numbers: of a run, and of what its network remembers."""

from elman.pictures.classes import draw_confusion
from elman.pictures.figures import picture_path
from elman.pictures.forecasts import draw_backtest, draw_losses, draw_panel, draw_predictions, draw_residuals
from elman.pictures.insights import (
    draw_activity,
    draw_attribution,
    draw_gradient_flow,
    draw_gradient_flows,
    draw_memories,
    draw_shares,
)
from elman.pictures.texts import draw_text

__all__ = [
    "draw_activity",
    "draw_attribution",
    "draw_backtest",
    "draw_confusion",
    "draw_gradient_flow",
    "draw_gradient_flows",
    "draw_losses",
    "draw_memories",
    "draw_panel",
    "draw_predictions",
    "draw_residuals",
    "draw_shares",
    "draw_text",
    "picture_path",
]
