"""Generation: from the text up to now to its next symbol.

A text is read in contiguous streams, one a row of the batch. After each stretch of ``bptt`` symbols the gradient is cut
off and the state carried on (Williams & Peng 1990). A part is scored as one text, its state carried from end to end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from elman.choices.generate import GenerateConfig, Sampling
from elman.data import Alphabet, Ids, split_text
from elman.errors import ElmanError
from elman.layers import Recurrent
from elman.layers.dropout import dropout
from elman.layers.flat import write_step
from elman.layers.step import set_state, state_of
from elman.ranks import ranks
from elman.stepping import Flat, Writer
from elman.stepping.engine import engine
from elman.stepping.model import Model, Part
from elman.tasks.batches import InParts, Rows
from elman.tasks.sampling import draw
from elman.tasks.streams import CHUNKS_PER_STREAM, detached

EPOCH_STEPS = 2000  # a pass over a longer text is cut into epochs that begin at random
READ_AT_ONCE = 64  # stretches of each stream
SCORED_STREAMS, SHORTEST_SCORED = 64, 256
WARM_UP = 256  # symbols before a stream that bring its state about
VALIDATED = 500_000  # symbols scored after each epoch, of a part that has more
MOST_SCORES = 1 << 24  # held at once
AGREED = 1e-6  # nats a symbol


class GenerateNetwork(nn.Module):
    """Symbols to vectors, a recurrent network, and the scores of each next symbol.

    >>> network = GenerateNetwork(5, Recurrent("gru", 8, 8), GenerateConfig(embedding=8, tied=True))
    >>> scores, state = network(torch.zeros(7, 2, dtype=torch.long))
    >>> scores.shape
    torch.Size([7, 2, 5])
    """

    def __init__(self, symbols: int, recurrent: Recurrent, config: GenerateConfig):
        super().__init__()
        self.symbols = symbols
        self.recurrent = recurrent
        self.config = config
        self.embedding = nn.Embedding(symbols, config.embedding) if config.embedding else None
        self.head = nn.Linear(recurrent.output_size, symbols)
        if config.tied:
            self._tie(recurrent.output_size)

    def _tie(self, outputs: int) -> None:
        """Score by the embeddings themselves (Press & Wolf 2017; Inan et al. 2017)."""
        if self.embedding is None or self.config.embedding != outputs:
            raise ElmanError(
                f"`tied`: an embedding of {self.config.embedding} cannot score an output of {outputs}; "
                f"give `embedding={outputs}`, or a last layer of the embedding's size"
            )
        nn.init.normal_(self.embedding.weight, std=outputs**-0.5)
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The scores (T, B, V) of the symbol after each of ids (T, B), and the state."""
        output, state = self.read(ids, state)
        return self.head(output), state

    def read(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """What the head reads scores from, (T, B, O), and the state."""
        vectors = self._dropped(self._vectors(ids), self.config.input_dropout)
        output, state = self.recurrent(vectors, state)
        return self._dropped(output, self.config.output_dropout), state

    def flat(self) -> Flat:
        """One step: from a ``symbol`` to the ``scores`` (V,) of the next."""
        w = Writer()
        symbol = w.symbol("symbol")
        if self.embedding is None:
            vector = w.row("one_hot", torch.eye(self.symbols), symbol)
        else:
            vector = w.row("head_weight" if self.config.tied else "embedding", self.embedding.weight, symbol)
        output = write_step(self.recurrent, w, vector)
        return w.flat(scores=w.affine(self.head, output, "head"))

    def _vectors(self, ids: Tensor) -> Tensor:
        if self.embedding is None:
            return one_hot(ids, self.symbols).to(self.head.weight.dtype)
        return self.embedding(ids)

    def _dropped(self, x: Tensor, p: float) -> Tensor:
        if not self.config.variational:
            return dropout(x, p, self.training)
        return x * dropout(x.new_ones(1, *x.shape[1:]), p, self.training)


@dataclass(frozen=True)
class Batch(Rows):
    """``inputs`` and ``targets`` (T, B): the symbols of each stream, and those that follow them."""

    along: ClassVar[dict[str, int]] = {"inputs": 1, "targets": 1}

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Written:
    """Where a text stands while it is generated.

    The ``states`` (1, n) after all but the ``last`` symbol, and the random numbers.
    """

    states: tuple[NDArray[Any], ...]
    last: int
    random: Tensor


class GenerateTask(InParts):
    """Training of a network on a text, for :func:`elman.training.fit`."""

    name = "generate"

    def __init__(
        self,
        model: GenerateNetwork,
        ids: Ids,
        alphabet: Alphabet,
        config: GenerateConfig,
        batch: int,
        source: str = "text",
    ):
        self.model = model
        self.ids = ids
        self.alphabet = alphabet
        self.config = config
        self.batch = batch
        self.train, self.validation, self.test = self.parts(len(ids), config, source)

    @staticmethod
    def parts(count: int, config: GenerateConfig, source: str) -> tuple[range, range, range]:
        """Training, validation and test. Raises :class:`DataError` for a text too short."""
        return split_text(count, config.split, source)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.model.head.weight.device

    # Training: the Trainable contract

    def batch_count(self) -> int:
        """How many batches an epoch has."""
        return self._streams()[2]

    def _streams(self) -> tuple[int, int, int]:
        """How many streams the training part is cut into, the symbols of a stretch, and stretches in an epoch."""
        usable = len(self.train) - 1
        steps = min(self.config.bptt, usable)
        rows = max(1, min(self.batch, usable // (steps * CHUNKS_PER_STREAM)))
        return rows, steps, min(usable // rows // steps, EPOCH_STEPS)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch: the streams in their order, from a place that moves with each epoch."""
        rows, steps, count = self._streams()
        apart = (len(self.train) - 1) // rows
        free = apart - count * steps
        firsts = int(torch.randint(free + 1, (), generator=generator)) + apart * np.arange(rows)
        for k in range(0, count, READ_AT_ONCE):
            many = min(READ_AT_ONCE, count - k)
            block = self._read(firsts + k * steps, many * steps + 1)
            for j in range(many):
                at = slice(j * steps, (j + 1) * steps)
                yield Batch(block[:-1][at], block[1:][at])

    def _read(self, firsts: NDArray[Any], length: int) -> Tensor:
        """``length`` symbols from each of ``firsts`` on, (length, B)."""
        return torch.from_numpy(self.ids.streams(firsts, length)).T.to(self.device)

    def loss(self, batch: Batch, state: Any = None) -> tuple[Tensor, Any]:
        """The mean cross-entropy, in nats a symbol, and the state after it."""
        scores, after = self.model(batch.inputs, state)
        return cross_entropy(scores.flatten(0, 1), batch.targets.flatten()), detached(after)

    def validate(self) -> float | None:
        """Return the validation loss in nats per symbol; None without a validation part.

        Of its beginning, if it is long.
        """
        part = self.validation[:VALIDATED]
        return self.nats(part, agree=False) / len(part) if part else None

    # Use

    @torch.no_grad()
    def nats(self, part: range, agree: bool = True) -> float:
        """Sum the nats of all symbols of ``part``.

        Read as one text, the state carried from end to end.

        It is read in streams at once, each after a run-up of the symbols before it. To ``agree``, each stream is read
        again from the state in which the one before it ended, until the whole costs the same to 1e-6 a symbol.
        """
        self.model.eval()
        streams = _scored_streams(part)
        if not agree:
            shares = ranks().share(
                streams.parts(ranks().count), lambda own: self._cost(own, part, self._run_up(own))[0]
            )
            return math.fsum(shares)
        groups = streams.parts(ranks().count)
        places = np.split(np.arange(len(streams.firsts)), np.cumsum([len(own.firsts) for own in groups])[:-1])

        def cost_of(state: Any) -> tuple[float, Any]:
            """The cost of all streams from their states on, shared out; and the states at their ends."""
            shared = ranks().share(
                range(len(groups)), lambda i: self._cost(groups[i], part, _rows(state, places[i], self.device))
            )
            return math.fsum(cost for cost, _ in shared), _joined([final for _, final in shared])

        state = _joined(ranks().share(groups, self._run_up))
        total, final = cost_of(state)
        for _ in range(len(streams.firsts) - 1):
            state = _handed_on(final, state)
            before, (total, final) = total, cost_of(state)
            if abs(total - before) <= AGREED * len(part):
                break
        return total

    def _run_up(self, streams: _Streams) -> Any:
        length = min(WARM_UP, int(streams.firsts[0]))
        return self.model.read(self._read(streams.firsts - length, length))[1] if length else None

    def _cost(self, streams: _Streams, part: range, state: Any) -> tuple[float, Any]:
        """Nats of all streams together, and the states at their ends."""
        total = 0.0
        steps = max(1, min(WARM_UP, MOST_SCORES // (len(streams.firsts) * self.ids.symbols)))
        for k in range(0, streams.length, steps):
            length = min(steps, streams.length - k)
            block = self._read(streams.firsts + k, length + 1)
            scores, state = self.model(block[:-1], state)
            each = cross_entropy(scores.flatten(0, 1), block[1:].flatten(), reduction="none").view(length, -1)
            after = torch.from_numpy(streams.firsts + k) + torch.arange(1, length + 1)[:, None]
            total += float(each.double()[(after < part.stop).to(each.device)].sum())
        return total, state

    def portable(self) -> Model:
        """The network in a form that can leave Python."""
        self.model.eval()
        tokens = self.alphabet.tokens or tuple(map(str, range(256)))
        example = tuple(int(i) for i in self.ids.block(0, min(200, len(self.ids))))
        model = self.model
        part = Part(model.recurrent, model.head, model.embedding)

        @torch.no_grad()
        def said() -> Any:
            scores, _ = model(torch.tensor(example, device=self.device)[:, None])
            return scores[-1, 0].cpu().double().numpy()

        facts: dict[str, Any] = {
            "said": said,
            "level": self.alphabet.level,
            "unwritten": tuple(self.alphabet.unwritten),
        }
        return Model(self.name, (part,), lambda: (model.flat(),), tokens=tokens, example=example, **facts)

    @torch.no_grad()
    def write(
        self, prompt: Sequence[int], written: Written | None, length: int, sampling: Sampling, random: torch.Generator
    ) -> Iterator[tuple[int, Written]]:
        """Generate ``length`` symbols after ``prompt``, each fed back.

        With where the text stands after each.

        ``written`` is a text to go on with; there must be that or a prompt.
        """
        model = self.model.eval()
        unread = [*([] if written is None else [written.last]), *prompt]
        step = engine(model.flat())
        for room, state in zip(step.state, () if written is None else written.states, strict=False):
            room[:] = state
        if len(unread) > 1:
            begun = torch.tensor(unread[:-1], device=self.device)[:, None]
            set_state(model.recurrent, step.state, model.read(begun, self._state(step, written))[1])
        symbol = unread[-1]
        for _ in range(length):
            step.inputs["symbol"][0] = symbol
            step()
            scores = torch.from_numpy(step.outputs["scores"][0].copy())
            scores[self.alphabet.unwritten] = -torch.inf
            symbol = draw(sampling, scores, random)
            yield symbol, Written(tuple(map(np.array, step.state)), symbol, random.get_state())

    def _state(self, step: Any, written: Written | None) -> Any:
        """Where a text stands, in the form that the network takes it."""
        if written is None:
            return None
        state = state_of(self.model.recurrent, step.state)
        return tuple(part.to(self.device) for part in state) if isinstance(state, tuple) else state.to(self.device)


@dataclass(frozen=True)
class _Streams:
    """Streams of ``length`` symbols to score, each after the symbol at ``firsts`` (S,)."""

    firsts: NDArray[Any]
    length: int

    def parts(self, count: int) -> list[_Streams]:
        """The streams in at most ``count`` groups."""
        return [_Streams(firsts, self.length) for firsts in np.array_split(self.firsts, count) if len(firsts)]


def _scored_streams(part: range) -> _Streams:
    count = max(1, min(SCORED_STREAMS, len(part) // SHORTEST_SCORED))
    length = -(-len(part) // count)
    return _Streams(part.start - 1 + length * np.arange(count), length)


def _rows(state: Any, rows: NDArray[np.int64], device: torch.device) -> Any:
    """The states of these streams, on ``device``. Streams are dimension 1."""
    if isinstance(state, Tensor):
        return state[:, int(rows[0]) : int(rows[-1]) + 1].to(device)
    return None if state is None else tuple(_rows(part, rows, device) for part in state)


def _joined(states: Sequence[Any]) -> Any:
    """The states of groups of streams as those of all."""
    first = states[0]
    if len(states) == 1 or first is None:
        return first
    return torch.cat(list(states), 1) if isinstance(first, Tensor) else tuple(map(_joined, zip(*states, strict=True)))


def _handed_on(final: Any, initial: Any) -> Any:
    """To each stream the final state of the one before; the first begins as before. Streams are dimension 1."""
    if isinstance(final, Tensor):
        first = torch.zeros_like(final[:, :1]) if initial is None else initial[:, :1]
        return torch.cat([first, final[:, :-1]], dim=1)
    return tuple(_handed_on(part, None if initial is None else initial[i]) for i, part in enumerate(final))
