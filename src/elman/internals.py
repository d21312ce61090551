"""What is used of torch that is not public, all of it: where a name is gone, the answer is the one that is safe."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=Optimizer)


def transform() -> str | None:
    """What is at work that differentiates or maps functions, as a reason to refuse a call; None where nothing is.

    >>> transform()
    """
    try:
        if forward_ad._current_level >= 0:
            return "does not take forward-mode derivatives"
        if torch._C._functorch.peek_interpreter_stack() is not None:
            return "does not run under torch.func's transforms"
    except AttributeError:
        return "cannot tell, with this torch, whether torch.func is at work"
    return None


def is_watched() -> bool:
    """Whether something looks at every operation, such as a tracer: then it must be one that torch knows."""
    try:
        return torch._C._len_torch_dispatch_stack() > 0
    except AttributeError:
        return True


def norms(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The norm of each of ``tensors``, in few operations where torch has one for many.

    >>> [float(norm) for norm in norms([torch.tensor([3.0, 4.0])])]
    [5.0]
    """
    try:
        return list(torch._foreach_norm(list(tensors)))
    except AttributeError:
        return [torch.linalg.vector_norm(tensor) for tensor in tensors]


def light(kind: type[Kind]) -> type[Kind]:
    """A ``kind`` of optimizer that does not load torch's compiler, whose import takes more than a second.

    It has the same methods without what torch wraps around them for torch.compile.

    >>> weights = torch.ones(2, requires_grad=True)
    >>> optimizer = light(torch.optim.SGD)([weights], lr=0.1)
    >>> weights.sum().backward()
    >>> optimizer.step()
    >>> weights.detach()
    tensor([0.9000, 0.9000])
    """
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in ("add_param_group", "load_state_dict", "state_dict")}
    methods = {"step": torch.no_grad()(inspect.unwrap(kind.step)), "zero_grad": _forget, **plain}
    return cast(type[Kind], type(kind.__name__, (kind,), methods))


def _forget(optimizer: Optimizer) -> None:
    """What ``zero_grad`` does, and no more."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


class Moments(NamedTuple):
    """What AdamW keeps of a group of parameters; ``group`` are its settings."""

    group: dict[str, Any]
    parameters: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]
    steps: list[Tensor]

    def step(self) -> None:
        """Take the step that torch's own method takes in the end."""
        group, gradients = self.group, [p.grad for p in self.parameters if p.grad is not None]
        torch._foreach_add_(self.steps, 1)
        torch._fused_adamw_(
            self.parameters, gradients, self.first, self.second, [], self.steps,
            lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1], weight_decay=group["weight_decay"],
            eps=group["eps"], amsgrad=False, maximize=False, grad_scale=None, found_inf=None,
        )  # fmt: skip


def moments(optimizer: Optimizer) -> list[Moments] | None:
    """What an AdamW of no further choices keeps, by group; None where its step is another, or not taken yet."""
    if not hasattr(torch, "_fused_adamw_") or not hasattr(torch, "_foreach_add_"):
        return None
    found = []
    for group in optimizer.param_groups:
        parameters = group["params"]
        states = [optimizer.state.get(p, {}) for p in parameters]
        alike = len({(p.device, p.dtype, p.grad is None or p.grad.is_sparse) for p in parameters}) == 1
        special = any(group[name] for name in ("amsgrad", "maximize", "capturable", "differentiable"))
        if not alike or special or not group["fused"] or not all(states):
            return None
        found.append(Moments(group, parameters, *([s[k] for s in states] for k in ("exp_avg", "exp_avg_sq", "step"))))
    return found


def scale(tensors: Sequence[Tensor], factor: float) -> None:
    """Multiply each of ``tensors`` in place, in few operations where torch has one for many.

    >>> gradient = torch.tensor([3.0, 4.0])
    >>> scale([gradient], 0.5)
    >>> gradient
    tensor([1.5000, 2.0000])
    """
    try:
        torch._foreach_mul_(list(tensors), factor)
    except AttributeError:
        for tensor in tensors:
            tensor.mul_(factor)


def network(kind: str) -> Callable[..., Any] | None:
    """torch's own whole network of a ``kind``: "lstm", "gru", "rnn_tanh" or "rnn_relu"; None where there is none."""
    return getattr(getattr(torch, "_VF", None), kind, None)


def lay_together(weights: list[Tensor], *sizes: Any) -> None:
    """Bring the ``weights`` of a cuDNN network into one stretch of memory; else cuDNN copies them at every call."""
    flatten = getattr(torch, "_cudnn_rnn_flatten_weight", None)
    if flatten is not None:
        flatten(weights, len(weights), *sizes)


def constant(function: Callable[..., str]) -> Callable[..., str]:
    """What torch.compiler.assume_constant_result does, without the second that importing torch's compiler takes."""
    vars(function)["_dynamo_marked_constant"] = True
    return function
