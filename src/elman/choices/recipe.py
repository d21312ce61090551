"""How a network is trained: the choices, the same for every task."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from elman.errors import ElmanError

if TYPE_CHECKING:
    import torch

DEVICE = re.compile("(cpu|cuda|mps|xpu)(:[0-9]+)?")
AS_MANY_AS_FIT = 1_000_000  # epochs, where the time alone says when to stop


class Computation(BaseModel):
    """How a training is computed: it changes time and memory, and the result by rounding alone.

    ``accumulate`` takes a batch apart: the gradients of its parts are added up before the step. ``precision`` "bf16"
    computes the products of the network in bfloat16 (:func:`torch.autocast`), weights and loss in float32.
    """

    accumulate: int = Field(1, ge=1, description="compute each batch in this many parts, one after another")
    precision: Literal["float32", "bf16"] = Field("float32", description="of the products: float32, or bf16")
    recompute: int = Field(0, ge=0, description="compute inner values again, in chunks of so many steps; 0: keep them")


UNITS = {
    **dict.fromkeys(("epoch", "epochs"), ("epoch", 1)),
    **dict.fromkeys(("step", "steps"), ("step", 1)),
    **dict.fromkeys(("s", "second", "seconds"), ("second", 1)),
    **dict.fromkeys(("min", "minute", "minutes"), ("second", 60)),
    **dict.fromkeys(("h", "hour", "hours"), ("second", 3600)),
}


@dataclass(frozen=True)
class Every:
    """Every so many epochs, steps or seconds.

    >>> Every.parse("10 min"), Every.parse("epoch")
    (Every(count=600, unit='second'), Every(count=1, unit='epoch'))
    """

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Every:
        """Read it. Raises ``ValueError`` where it says none."""
        match = re.fullmatch(r"\s*(\d+)?\s*([a-z]+)\s*", text)
        if match is None or match[2] not in UNITS or match[1] == "0":
            raise ValueError(f"got {text!r}, want such as 5 epochs, 500 steps or 10 min")
        unit, size = UNITS[match[2]]
        return cls(int(match[1] or 1) * size, unit)


class Saving(BaseModel):
    """When it is saved where a training stands, which a resumed one goes on from, and how many such files are kept."""

    checkpoint: str = Field("1 epoch", description="save where training stands every 5 epochs, 500 steps or 10 min")
    keep: int = Field(1, ge=1, description="checkpoints kept, the last ones")

    @field_validator("checkpoint")
    @classmethod
    def _says_how_often(cls, text: str) -> str:
        Every.parse(text)
        return text


class Recipe(Computation, Saving):
    """The choices :func:`~elman.training.loop.fit` takes.

    ``lr`` is the peak of a one-cycle rate, reached after three tenths of all steps, or of ``max_time`` where that ends
    first. ``clip`` bounds the norm of the whole gradient, ``patience`` is in epochs, ``max_time`` in seconds; 0 turns
    each off. With ``max_time`` and no ``epochs`` there are as many as fit. Raises pydantic's ``ValidationError``;
    :func:`~elman.options.checked` words it for the command line.

    >>> Recipe(epochs=5).lr
    0.015
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(title="Training", extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: int = Field(100, ge=1, description="passes over the training part")
    batch: int = Field(32, ge=1, description="examples in a step")
    lr: float = Field(0.015, gt=0, description="peak of the one-cycle learning rate")
    clip: float = Field(0.1, ge=0, description="clip gradients to this norm; 0: no clipping")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of everything random")
    device: str = Field("cpu", description="where to train: cpu, cuda, cuda:1, mps")
    patience: int = Field(0, ge=0, description="epochs without improvement before stopping; 0: never")
    weight_decay: float = Field(0.0, ge=0, description="weight decay of AdamW")
    max_time: float = Field(0.0, ge=0, description="stop after this many seconds of training; 0: no limit")

    @model_validator(mode="before")
    @classmethod
    def _as_many_as_fit(cls, values: Any) -> Any:
        timed = isinstance(values, dict) and values.get("max_time") and "epochs" not in values
        return values | {"epochs": AS_MANY_AS_FIT} if timed else values

    @field_validator("device")
    @classmethod
    def _names_a_device(cls, name: str) -> str:
        if not DEVICE.fullmatch(name):
            raise ValueError(f"got {name!r}, want a device such as cpu, cuda or cuda:1")
        return name

    def check_precision(self) -> None:
        """Check that this machine computes in the recipe's precision.

        Raises :class:`ElmanError` where its processor has no bfloat16.

        >>> Recipe().check_precision()
        """
        if self.precision == "float32":
            return
        import torch

        device = self.torch_device()
        try:
            with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
                torch.nn.LSTM(8, 8, device=device)(torch.zeros(2, 2, 8, device=device))
        except RuntimeError as error:
            raise ElmanError(
                f"`precision`: torch computes no LSTM in bfloat16 on the {device.type} of this machine; leave it out"
            ) from error

    def torch_device(self) -> torch.device:
        """Return the device to train on, with its index.

        Raises :class:`ElmanError` if it is not in this machine.

        A recipe may name a device that this machine lacks: its run can still be read here.

        >>> Recipe().torch_device()
        device(type='cpu')
        """
        import torch

        device = torch.device(self.device)
        if device.type == "cpu":
            return device
        module = getattr(torch, device.type, None)
        count = module.device_count() if module is not None and module.is_available() else 0
        if (device.index or 0) >= count:
            raise ElmanError(f"`device`: got {self.device!r}, and torch sees {count} such here; use cpu")
        if device.type == "cuda" and device.index is None:
            return torch.device("cuda", torch.cuda.current_device())  # one of its own for each rank, see elman.ranks
        return device
