"""What networks are trained for: models, losses, and what a batch is."""

from elman.choices.classify import ClassifyConfig
from elman.choices.forecast import ForecastConfig
from elman.choices.generate import GenerateConfig, Sampling
from elman.tasks.classify import Classify, ClassifyNetwork
from elman.tasks.contract import Field, Task, example_batch
from elman.tasks.forecast import Forecast
from elman.tasks.forecast_networks import ForecastNetwork, NetworkOnLine
from elman.tasks.generate import Generate, GenerateNetwork, Written

__all__ = [
    "Classify",
    "ClassifyConfig",
    "ClassifyNetwork",
    "Field",
    "Forecast",
    "ForecastConfig",
    "ForecastNetwork",
    "Generate",
    "GenerateConfig",
    "GenerateNetwork",
    "NetworkOnLine",
    "Sampling",
    "Task",
    "Written",
    "example_batch",
]
