"""Recording work on the GPU so that it can be replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

WARM_UP = 2  # runs before the capture: libraries choose their algorithms and make their handles in the first


class Captured(Protocol):
    """Recorded work."""

    def replay(self) -> list[Tensor]:
        """Do the work on the tensors it was recorded with; its results are the same tensors each time."""
        ...


class _Graph:
    def __init__(self, work: Callable[[], list[Tensor]]) -> None:
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.results = work()

    def replay(self) -> list[Tensor]:
        """Replay the graph on the current stream."""
        self.graph.replay()
        return self.results


def capture(work: Callable[[], list[Tensor]], like: Tensor) -> Captured:
    """Record ``work``, which runs on the device of ``like``, as a CUDA graph."""
    with torch.cuda.device_of(like):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        return _Graph(work)
