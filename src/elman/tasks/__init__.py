"""What networks are trained for: models, losses, and what a batch is."""

from elman.tasks.classify import Classify, ClassifyConfig, ClassifyNetwork
from elman.tasks.contract import Field, Task, example_batch
from elman.tasks.forecast import Forecast
from elman.tasks.forecast_config import ForecastConfig
from elman.tasks.forecast_networks import ForecastNetwork, NetworkOnLine
from elman.tasks.generate import Generate, GenerateConfig, GenerateNetwork, Written
from elman.tasks.sampling import Sampling

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
