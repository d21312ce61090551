"""What a network remembers, in numbers: how its gradient flows, which steps matter, what its gates do."""

from elman.insight.activity import Activity, activity
from elman.insight.attribution import Attribution, attribution
from elman.insight.flow import GradientFlow, gradient_flow
from elman.insight.health import Health
from elman.insight.jacobians import Jacobians, Verdict, jacobians, verdict
from elman.insight.memory import (
    Memory,
    compare_memory,
    layers_of_equal_size,
    memory_by_gradient,
    memory_by_perturbation,
)
from elman.insight.paths import Paths, Shares, gradient_shares, paths
from elman.insight.sample import Sample, Watched

__all__ = [
    "Activity",
    "Attribution",
    "GradientFlow",
    "Health",
    "Jacobians",
    "Memory",
    "Paths",
    "Sample",
    "Shares",
    "Verdict",
    "Watched",
    "activity",
    "attribution",
    "compare_memory",
    "gradient_flow",
    "gradient_shares",
    "jacobians",
    "layers_of_equal_size",
    "memory_by_gradient",
    "memory_by_perturbation",
    "paths",
    "verdict",
]
