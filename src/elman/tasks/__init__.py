"""What networks are trained for: models, losses, and what a batch is."""

from elman.choices.classify import ClassifyConfig
from elman.choices.forecast import ForecastConfig
from elman.choices.generate import GenerateConfig, Sampling
from elman.tasks.classify import ClassifyNetwork, ClassifyTask
from elman.tasks.forecast import ForecastTask
from elman.tasks.forecast_networks import ForecastNetwork, NetworkOnLine
from elman.tasks.generate import GenerateNetwork, GenerateTask, Written

__all__ = [
    "ClassifyConfig",
    "ClassifyNetwork",
    "ClassifyTask",
    "ForecastConfig",
    "ForecastNetwork",
    "ForecastTask",
    "GenerateConfig",
    "GenerateNetwork",
    "GenerateTask",
    "NetworkOnLine",
    "Sampling",
    "Written",
]
