"""Sequence-to-sequence on sines from random starts, then 50 steps of its own: does it follow the sine?"""

import numpy as np

from elman.data import Series
from elman.jobs import Forecaster

series = Series(np.sin(0.1 * np.arange(1000))[:, None], ("sine",))
forecaster = Forecaster("rnn", hidden=32, context=40, targets="every", epochs=20)
forecaster.fit(series)  # windows begin anywhere in the wave

own = forecaster.predict(50).values[:, 0]  # each prediction is the next input
truth = np.sin(0.1 * np.arange(1000, 1050))
error = np.mean((own - truth) ** 2)
print(f"closed loop over 50 steps: MSE {error:.2g}")
assert error < 0.02
