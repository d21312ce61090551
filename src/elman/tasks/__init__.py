"""What networks are trained for: models, losses, and what a batch is."""

from elman.tasks.contract import Field, Task, example_batch
from elman.tasks.forecast import Forecast, ForecastConfig, ForecastNetwork

__all__ = ["Field", "Forecast", "ForecastConfig", "ForecastNetwork", "Task", "example_batch"]
