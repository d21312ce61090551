"""Classifying: from a whole sequence, of any length, to its label.

Tokens are embedded, numbers standardised; a recurrent network reads them, usually from both ends; its outputs are
pooled over the steps that are there, and a linear head gives a logit a class. Beside it a linear classifier may read
the runs of tokens in a text as a bag (wide and deep, Cheng et al. 2016). Padding is inside: it reaches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from elman.choices.classify import ClassifyConfig
from elman.data import Parted, Scaler, Vocabulary
from elman.data.labelled.labelled import filled
from elman.data.labelled.stored import StoredSequences, spread
from elman.data.text.vocabulary import UNKNOWN
from elman.errors import ExportError
from elman.layers import Recurrent
from elman.layers.flat import write_step
from elman.metrics import classification_scores
from elman.ranks import ranks
from elman.sequences import running
from elman.stepping import Flat, Writer
from elman.stepping.model import Model, Part
from elman.tasks.batches import Rows

# How far embeddings begin from 0. Of words most are seen rarely, and should say little rather than something random.
EMBEDDING_SPREAD = {"char": 1.0, "word": 0.05}
EVALUATED_AT_ONCE = 512  # sequences in a forward pass without gradient
LEAST_SCORE = -1e30  # below any that a network gives
MOST_LEARNED_FROM = 1 << 26  # bytes of the sequences in a file that words and scales are learned from
POOL = 50  # batches whose sequences are sorted by length together


def pool_last(output: Tensor, valid: Tensor, directions: int) -> Tensor:
    """What each direction read last: of ``output`` (T, B, D H) forwards the last valid step, backwards the first."""
    last = output.gather(0, (valid.sum(0) - 1).view(1, -1, 1).expand(1, -1, output.shape[2]))[0]
    if directions == 1:
        return last
    hidden = output.shape[2] // 2
    return torch.cat([last[:, :hidden], output[0, :, hidden:]], dim=1)


def pool_mean(output: Tensor, valid: Tensor) -> Tensor:
    """The mean over the valid steps, (B, O)."""
    return torch.where(valid.unsqueeze(-1), output, 0.0).sum(0) / valid.sum(0).unsqueeze(-1)


def pool_max(output: Tensor, valid: Tensor) -> Tensor:
    """The largest over the valid steps, (B, O)."""
    return torch.where(valid.unsqueeze(-1), output, -torch.inf).amax(0)


class ClassifyNetwork(nn.Module):
    """A network from sequences to logits.

    ``recurrent`` stands between an embedding of ``tokens`` (0: numbers come as they are) and a head.

    ``runs`` of several tokens, whose ids follow the tokens', have a weight a class each.

    >>> network = ClassifyNetwork(Recurrent("gru", 1, 8), classes=3, config=ClassifyConfig(directions=1))
    >>> network(torch.zeros(5, 2, 1), torch.tensor([5, 3])).shape
    torch.Size([2, 3])
    """

    temperature: Tensor
    bayes_weight: Tensor

    def __init__(self, recurrent: Recurrent, classes: int, config: ClassifyConfig, tokens: int = 0, runs: int = 0):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(tokens, recurrent.input_size) if tokens else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=EMBEDDING_SPREAD[config.level])
        self.bag = nn.Embedding(tokens + runs, classes) if runs else None
        if self.bag is not None:
            nn.init.zeros_(self.bag.weight)
        self.recurrent = recurrent
        self.attention = nn.Linear(recurrent.output_size, 1) if config.pooling == "attention" else None
        self.head = nn.Linear(recurrent.output_size, classes)
        self.drop_embedding, self.drop_head = nn.Dropout(config.embedding_dropout), nn.Dropout(config.head_dropout)
        # What divides the logits where probabilities are wanted, and what naive Bayes counts beside them; set after
        # training, on the validation part.
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("bayes_weight", torch.zeros(()))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Weights from before naive Bayes was weighed have it count nothing."""
        state_dict.setdefault(f"{prefix}bayes_weight", torch.zeros(()))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Compute the logits (B, K) of x.

        x holds ids (T, B, N), or numbers (T, B, C); ``lengths`` (B,) are from 1 to T.
        """
        valid = running(lengths, x.shape[0])
        bagged = 0.0 if self.bag is None else self._bagged(self.bag, x, valid)
        if self.embedding is not None:
            x = self.drop_embedding(self.embedding(self._dropped(x[:, :, 0])))
        output, _ = self.recurrent(x, lengths=lengths)
        return self.head(self.drop_head(self._pooled(output, valid))) + bagged

    def flat(self) -> Flat:
        """Write one step as a flat.

        From a ``symbol`` or numbers ``x`` (C,) to the ``logits`` (K,) of the sequence up to it.

        Raises :class:`ExportError` where runs of tokens are read beside.
        """
        if self.bag is not None:
            raise ExportError("runs of tokens are read beside the network, and have no step; train with `ngrams=1`")
        w = Writer()
        if self.embedding is not None:
            x = w.row("embedding", self.embedding.weight, w.symbol("symbol"))
        else:
            x = w.input("x", self.recurrent.input_size)
        output = write_step(self.recurrent, w, x)
        return w.flat(logits=w.affine(self.head, self._pooled_so_far(w, output), "head"))

    def _pooled_so_far(self, w: Writer, output: int) -> int:
        """:meth:`_pooled` step by step: what has been read is in memories."""
        size = self.recurrent.output_size
        if self.attention is not None:
            # The softmax of what came so far, in sums: scores from the largest on (Milakov & Gimelshein 2018).
            score = w.affine(self.attention, output, "attention")
            largest = w.memory("attention_largest", 1, torch.full((1,), LEAST_SCORE))
            top = w("maximum", largest, score)
            old, new = w("exp", w("sub", largest, top)), w("exp", w("sub", score, top))
            weights, sums = w.memory("attention_weights", 1), w.memory("attention_sum", size)
            weight = w.remember(weights, w("add", w("mul", weights, old), new))
            w.remember(largest, top)
            return w("div", w.remember(sums, w("add", w("mul", sums, old), w("mul", output, new))), weight)
        if self.config.pooling == "last":
            return output
        if self.config.pooling == "max":
            largest = w.memory("pooled_max", size, torch.full((size,), LEAST_SCORE))
            return w.remember(largest, w("maximum", largest, output))
        sums, count = w.memory("pooled_sum", size), w.memory("pooled_count", 1)
        steps = w.remember(count, w("add", count, w.constant(1.0)))
        return w("div", w.remember(sums, w("add", sums, output)), steps)

    def _bagged(self, bag: nn.Embedding, ids: Tensor, valid: Tensor) -> Tensor:
        """What the runs that training knows add to the logits, (B, K)."""
        known = (valid.unsqueeze(-1) & (ids != UNKNOWN)).to(self.head.weight)
        return torch.einsum("tbn,tbnk->bk", self.drop_head(known), bag(ids))

    def _dropped(self, ids: Tensor) -> Tensor:
        p = self.config.token_dropout
        if not (p and self.training):
            return ids
        return torch.where(torch.rand(ids.shape, device=ids.device) < p, UNKNOWN, ids)

    def _pooled(self, output: Tensor, valid: Tensor) -> Tensor:
        if self.attention is not None:
            scores = torch.where(valid.unsqueeze(-1), self.attention(output), -torch.inf)
            return (scores.softmax(0) * torch.where(valid.unsqueeze(-1), output, 0.0)).sum(0)
        if self.config.pooling == "last":
            return pool_last(output, valid, self.config.directions)
        return {"mean": pool_mean, "max": pool_max}[self.config.pooling](output, valid)


def learned_from(parts: Parted) -> NDArray[np.int64]:
    """The training sequences that words and scales are learned from: all, or of those in a file as many as fit."""
    sequences = parts.data.sequences
    return spread(sequences, parts.train, MOST_LEARNED_FROM) if isinstance(sequences, StoredSequences) else parts.train


@dataclass(frozen=True)
class Batch(Rows):
    """``inputs``: ids (T, B, N) or numbers (T, B, C), padded; ``lengths`` (B,); ``labels`` (B,), numbers of classes."""

    along: ClassVar[dict[str, int]] = {"inputs": 1, "lengths": 0, "labels": 0}

    inputs: Tensor
    lengths: Tensor
    labels: Tensor


class Inputs(Sequence[Tensor]):
    """What a network reads of N sequences, each made by ``read`` when it is asked for; of ``lengths`` (N,) steps."""

    def __init__(self, read: Callable[[int], Tensor], lengths: NDArray[np.int64]):
        self.read = read
        self.lengths = lengths

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> Inputs:
        """Those that are there."""
        return cls(tensors.__getitem__, np.array([len(x) for x in tensors], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, number: Any) -> Any:
        """What is read of sequence ``number``."""
        return self.read(int(number))

    def chosen(self, indices: NDArray[np.int64]) -> Inputs:
        """Those of these indices."""
        return Inputs(lambda number: self.read(int(indices[number])), self.lengths[indices])


class ClassifyTask:
    """Training of a network on labelled sequences, for :func:`elman.training.fit`.

    ``reader`` makes numbers of sequences: a :class:`Vocabulary` of texts, a :class:`Scaler` of channels.
    """

    name = "classify"

    def __init__(
        self,
        model: ClassifyNetwork,
        parts: Parted,
        classes: Sequence[str],
        reader: Vocabulary | Scaler,
        config: ClassifyConfig,
        batch: int,
    ):
        self.model: ClassifyNetwork = model
        self.parts: Parted = parts
        self.classes: tuple[str, ...] = tuple(classes)
        self.reader: Vocabulary | Scaler = reader
        self.config: ClassifyConfig = config
        self.batch: int = batch
        self.inputs: Inputs = self.read(parts.data.sequences)
        number = {name: i for i, name in enumerate(self.classes)}
        self.truth = np.array([number[label] for label in parts.data.labels], dtype=np.int64)
        members = np.bincount(self.truth[parts.train], minlength=len(self.classes))
        even = members.sum() / (len(members) * members)
        self.weights: Tensor | None = torch.from_numpy(even).float() if config.class_weights == "balanced" else None
        # What training made of the classes' shares: with balanced weights they count alike.
        self.log_shares = np.zeros(len(members)) if self.weights is not None else np.log(members / members.sum())

    @staticmethod
    def fit_reader(parts: Parted, config: ClassifyConfig) -> Vocabulary | Scaler:
        """What makes numbers of sequences, from the training part alone."""
        trained = [parts.data.sequences[i] for i in learned_from(parts)]
        if parts.data.is_text:
            return Vocabulary.of(trained, config.level, config.fewest, config.ngrams)
        values = np.concatenate(trained)
        return Scaler.fit(filled(values, np.zeros(values.shape[1])))

    def _read(self, sequence: str | NDArray[np.float64]) -> Tensor:
        """A text as ids (T, N), or numbers standardised (T, C), on the CPU."""
        if isinstance(self.reader, Vocabulary):
            return torch.from_numpy(self.reader.ids(str(sequence)))
        return torch.from_numpy(self.reader.transform(filled(np.asarray(sequence), self.reader.shift))).float()

    def read(self, sequences: Sequence[Any]) -> Inputs:
        """What the network reads of ``sequences``; of those in a file each when it is looked at."""
        if isinstance(sequences, StoredSequences):
            lengths = [len(self._read(sequence)) for sequence in sequences]
            return Inputs(lambda number: self._read(sequences[number]), np.array(lengths, dtype=np.int64))
        return Inputs.of([self._read(sequence) for sequence in sequences])

    def moved(self, parts: Parted) -> None:
        """Take the same sequences from ``parts``."""
        sequences = parts.data.sequences
        self.parts, self.inputs = parts, Inputs(lambda number: self._read(sequences[number]), self.inputs.lengths)

    # Training: the Trainable contract

    def batch_count(self) -> int:
        """How many batches an epoch has."""
        return -(-len(self.parts.train) // self.batch)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """Yield the batches of one epoch.

        Sequences in random order, of like length together, the batches in random order again.
        """
        order = self.parts.train[torch.randperm(len(self.parts.train), generator=generator).numpy()]
        batches: list[NDArray[np.int64]] = []
        for start in range(0, len(order), POOL * self.batch):
            alike = sorted(order[start : start + POOL * self.batch], key=lambda i: self.inputs.lengths[i])
            batches += [np.array(alike[i : i + self.batch]) for i in range(0, len(alike), self.batch)]
        for i in torch.randperm(len(batches), generator=generator).tolist():
            yield self.collated([self.inputs[j] for j in batches[i]], self.truth[batches[i]])

    def collated(self, inputs: Sequence[Tensor], truth: NDArray[np.int64]) -> Batch:
        """Sequences (T, ...) and their classes (B,) as one batch on the model's device."""
        device = self.model.head.weight.device
        lengths = torch.tensor([len(x) for x in inputs], device=device)
        return Batch(pad_sequence(list(inputs)).to(device), lengths, torch.from_numpy(truth).to(device))

    def share(self, batch: Batch, part: int, parts: int) -> tuple[Batch, float]:
        """Return one part of a batch's rows, and their share of its loss.

        A row counts as much as its class weighs.
        """
        rows = batch.part(part, parts)
        if self.weights is None:
            return rows, len(rows) / len(batch)
        weights = self.weights.double().to(batch.labels.device)
        return rows, float(weights[rows.labels].sum() / weights[batch.labels].sum())

    def loss(self, batch: Batch, state: None = None) -> tuple[Tensor, None]:
        """The mean cross entropy, in nats; nothing is carried from batch to batch."""
        logits = self.model(batch.inputs, batch.lengths)
        return self._cross_entropy(logits, batch.labels, self.config.smoothing), None

    def _cross_entropy(self, logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        weights = None if self.weights is None else self.weights.to(logits)
        return cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing)

    def validate(self) -> float | None:
        """Return the validation loss; None without a validation part.

        Cross entropy, or 1 minus accuracy or macro-F1.
        """
        if not len(self.parts.validation):
            return None
        logits = self.logits(self.inputs.chosen(self.parts.validation))
        truth = self.truth[self.parts.validation]
        if self.config.best == "loss":
            return self._cross_entropy(logits, torch.from_numpy(truth)).item()
        return 1 - classification_scores(logits.argmax(1).numpy(), truth, len(self.classes))[self.config.best]

    # Use

    def portable(self) -> Model:
        """Return the network in a form that can leave Python.

        Raises :class:`ExportError` if naive Bayes counts beside it.
        """
        model, sequence = self.model.eval(), self.inputs[0]
        if float(model.bayes_weight):
            raise ExportError("naive Bayes counts beside the network and cannot leave; train with `network_alone`")
        pooling = self.config.pooling
        part = Part(model.recurrent, model.head, model.embedding, pooling, model.attention, model.bag)
        temperature = float(model.temperature)
        prior = temperature * self.config.prior_shift * self.log_shares

        def said() -> Any:
            return torch.softmax(
                (self.logits(self.inputs.chosen(np.zeros(1, dtype=np.int64)))[0].double() - torch.from_numpy(prior))
                / temperature,
                0,
            ).numpy()

        common: dict[str, Any] = {"classes": self.classes, "temperature": temperature, "prior": prior, "said": said}
        if isinstance(self.reader, Vocabulary):
            common |= {"tokens": ("<unknown>", *self.reader.tokens), "level": self.config.level}
            common |= {"example": tuple(sequence[:, 0].tolist()), "unwritten": (UNKNOWN,)}
        else:
            shift, scale = self.reader.shift, self.reader.scale
            common |= {"columns": tuple(f"channel_{c}" for c in range(len(shift))), "shift": shift, "scale": scale}
            common |= {"example": tuple(map(tuple, (sequence.double().numpy() * scale + shift).tolist()))}
        return Model(self.name, (part,), lambda: (model.flat(),), **common)

    @torch.no_grad()
    def logits(self, inputs: Sequence[Tensor]) -> Tensor:
        """The logits (n, K) of sequences as :meth:`read` gives them, on the CPU."""
        self.model.eval()
        inputs = inputs if isinstance(inputs, Inputs) else Inputs.of(inputs)
        order = np.argsort(inputs.lengths, kind="stable").tolist()
        logits = torch.empty(len(inputs), len(self.classes), dtype=torch.float32)
        size = ranks().chunk(len(order), EVALUATED_AT_ONCE)
        batches = [order[start : start + size] for start in range(0, len(order), size)]

        def logits_of(chosen: list[int]) -> Tensor:
            batch = self.collated([inputs[i] for i in chosen], np.zeros(len(chosen), dtype=np.int64))
            return self.model(batch.inputs, batch.lengths).float().cpu()

        for chosen, values in zip(batches, ranks().share(batches, logits_of), strict=True):
            logits[chosen] = values
        return logits
