"""What a network remembers, in numbers: how its gradient flows, which steps matter, what its gates do."""

from elman.insight.flow import GradientFlow, gradient_flow
from elman.insight.jacobians import Jacobians, Verdict, jacobians, verdict

__all__ = ["GradientFlow", "Jacobians", "Verdict", "gradient_flow", "jacobians", "verdict"]
