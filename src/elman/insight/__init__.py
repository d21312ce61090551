"""What a network remembers, in numbers: how its gradient flows, which steps matter, what its gates do."""

from elman.insight.flow import GradientFlow, gradient_flow
from elman.insight.jacobians import Jacobians, Verdict, jacobians, verdict
from elman.insight.paths import Paths, Shares, gradient_shares, paths

__all__ = [
    "GradientFlow",
    "Jacobians",
    "Paths",
    "Shares",
    "Verdict",
    "gradient_flow",
    "gradient_shares",
    "jacobians",
    "paths",
    "verdict",
]
