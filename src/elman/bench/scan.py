"""The peer in JAX: the step under ``jax.lax.scan``, the product of x hoisted, all of it jitted."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import torch

from elman.bench.cases import Work


def scan(work: Work) -> Callable[[], tuple[Any, ...]] | str:
    """``jax.lax.scan`` over the same equations with the same weights, forward or forward and backward."""
    if work.cell not in STEPS:
        return "is written for rnn, gru and lstm"
    if "jax" not in sys.modules:
        # XLA reads how many threads it may use once, when it starts; on an accelerator it would measure that.
        os.environ.setdefault("NPROC", str(torch.get_num_threads()))
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    forward = _forward(work)
    weights = {name: jax.numpy.asarray(value.numpy()) for name, value in work.weights().items()}
    x, cotangent = (jax.numpy.asarray(value.numpy()) for value in (work.x, work.cotangent))

    def both(weights: Any, x: Any, cotangent: Any) -> tuple[Any, ...]:
        output, pull = jax.vjp(forward, weights, x)
        of_weights, of_x = pull(cotangent)
        return output, of_x, of_weights

    once, twice = jax.jit(forward), jax.jit(both)
    if work.backward:
        return lambda: jax.block_until_ready(twice(weights, x, cotangent))
    return lambda: (jax.block_until_ready(once(weights, x)),)


def _forward(work: Work) -> Callable[[Any, Any], Any]:
    import jax
    from jax import numpy as jnp

    step, count = STEPS[work.cell]

    def forward(weights: Any, x: Any) -> Any:
        projected = x @ weights["weight_ih"].T + weights["bias_ih"]
        states = (jnp.zeros((work.shape.B, work.shape.H), x.dtype),) * count

        def turn(states: Any, row: Any) -> Any:
            new = step(row, states[0] @ weights["weight_hh"].T + weights["bias_hh"], states)
            return new, new[0]

        return jax.lax.scan(turn, states, projected)[1]

    return forward


def _rnn(x: Any, u: Any, states: Any) -> tuple[Any, ...]:
    from jax import numpy as jnp

    return (jnp.tanh(x + u),)


def _gru(x: Any, u: Any, states: Any) -> tuple[Any, ...]:
    from jax import nn
    from jax import numpy as jnp

    (xr, xz, xn), (ur, uz, un) = jnp.split(x, 3, axis=-1), jnp.split(u, 3, axis=-1)
    r, z = nn.sigmoid(xr + ur), nn.sigmoid(xz + uz)
    return ((1 - z) * jnp.tanh(xn + r * un) + z * states[0],)


def _lstm(x: Any, u: Any, states: Any) -> tuple[Any, ...]:
    from jax import nn
    from jax import numpy as jnp

    i, f, g, o = jnp.split(x + u, 4, axis=-1)
    c = nn.sigmoid(f) * states[1] + nn.sigmoid(i) * jnp.tanh(g)
    return nn.sigmoid(o) * jnp.tanh(c), c


# The step, and how many states it has.
STEPS = {"rnn": (_rnn, 1), "gru": (_gru, 1), "lstm": (_lstm, 2)}
