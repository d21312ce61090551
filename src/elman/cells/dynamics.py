"""Differential equations, one step of a solver at a time."""

from elman.cells.activations import activation
from elman.equations import antisymmetric, cell, sigmoid, tanh


@cell
def antisymmetricrnn(x, h, p, *, epsilon=0.1, gamma=0.1, gated=False):
    """AntisymmetricRNN: a step of a stable differential equation (Chang et al. 2019, arXiv:1902.09689).

    When: long memory without gates; gamma damps, epsilon is the step. gated=True is the paper's gated form.
    """
    a = p.w(antisymmetric(h), bias=False) - gamma * h
    n = tanh(a + p.h(x))
    return h + epsilon * (sigmoid(a + p.z(x)) * n if gated else n)


@cell
def cornn(x, y, z, p, *, dt=0.1, gamma=1.0, epsilon=1.0):
    """Coupled oscillators, coRNN (Rusch & Mishra 2021, arXiv:2010.00951); z is the velocity of y.

    When: gradients must survive thousands of steps; tune dt, gamma (frequency) and epsilon (damping) to the task.

    The damping is explicit, of the velocity before the step, as in the authors' code.
    """
    z = z + dt * (tanh(p.z(x, y, z)) - gamma * y - epsilon * z)
    return y + dt * z, z


@cell
def unicornn(x, y, z, p, *, dt=0.1, alpha=1.0):
    """Independent undamped oscillators, UnICORNN (Rusch & Mishra 2021, arXiv:2103.05487).

    When: tens of thousands of steps; each unit has its own pace, and layers are stacked to mix them.
    """
    pace = dt * sigmoid(p.c())
    z = z - pace * (tanh(p.z(x) + p.w() * y) + alpha * y)
    return y + pace * z, z


@cell
def lem(x, y, z, p, *, dt=1.0):
    """Long expressive memory: two states, each at a pace that it learns (Rusch et al. 2022, arXiv:2110.04744).

    When: several time scales at once. y sees the z of the same step, as the paper writes it.
    """
    a, b = dt * sigmoid(p.a(x, y)), dt * sigmoid(p.b(x, y))
    z = (1 - a) * z + a * tanh(p.z(x, y))
    y = (1 - b) * y + b * tanh(p.y(x, z))
    return y, z


@cell(inputs={"gap": 1})
def cfc(x, h, p, *, gap, nonlinearity="tanh", gated=True):
    """Closed-form continuous-time network (Hasani et al. 2022, arXiv:2106.13898).

    When: samples at irregular times: ``gap`` is the time since the last one, (T, B), (T, B, 1) or (B, 1).

    Its hidden layer has ``backbone`` units; their activation in the paper is tanh, relu, silu or lecun.
    """
    b = activation(nonlinearity)(p.b(x, h, size="backbone"))
    f, g = tanh(p.f(b)), tanh(p.g(b))
    t = sigmoid(p.ta(b) * gap + p.tb(b))
    return f * (1 - t) + t * g if gated else f + t * g
