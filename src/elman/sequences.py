"""Batches of sequences of unlike lengths: what a layer is given, brought to one padded tensor and back.

Inside, every layer works on x (T, B, I) and a mask (T, B) that is True where a row still runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence, pad_sequence

from elman.errors import ShapeError
from elman.shapes import expect


def running(lengths: Tensor, steps: int) -> Tensor:
    """The mask (T, B) that is True where t < length.

    >>> running(torch.tensor([2, 0, 3]), 3).int().tolist()
    [[1, 0, 1], [1, 0, 1], [0, 0, 1]]
    """
    return torch.arange(steps, device=lengths.device).unsqueeze(1) < lengths


@dataclass(frozen=True)
class Batch:
    """``x`` (T, B, I) with ``lengths`` (B,) or None where every row has T steps; ``form`` is how it was given."""

    x: Tensor
    lengths: Tensor | None
    form: str  # "padded", "unbatched", "packed" or "list"
    batch_first: bool = False
    packed: PackedSequence | None = None

    @classmethod
    def of(cls, x: Any, input_size: int, lengths: Any = None, batch_first: bool = False) -> Batch:
        """Read what a layer is given: (T, B, I), (B, T, I) with ``batch_first``, (T, I), a PackedSequence, or a list
        of (T, I). Raises :class:`ShapeError` where it is none of these."""
        if isinstance(x, Tensor) and x.dim() != 2:  # nearly always: asked first
            # Said in words where it does not fit.
            if x.dim() != 3 or x.shape[2] != input_size:
                expect(x, "B T I" if batch_first else "T B I", name="x", sizes={"I": input_size})
            rows = x.transpose(0, 1) if batch_first else x
            if lengths is not None:
                lengths = _checked(torch.as_tensor(lengths, device=x.device), rows.shape[1], rows.shape[0])
            return cls(rows, lengths, "padded", batch_first)
        if isinstance(x, PackedSequence | list | tuple) and lengths is not None:
            raise ShapeError("lengths: a PackedSequence and a list of sequences carry their own; leave lengths out")
        if isinstance(x, PackedSequence):
            # Without its permutation, the rows stay in the packed order, longest first.
            rows, row_lengths = pad_packed_sequence(PackedSequence(x.data, x.batch_sizes))
            expect(rows, "T B I", name="x", sizes={"I": input_size})
            return cls(rows, row_lengths.to(rows.device), "packed", packed=x)
        if isinstance(x, list | tuple):
            return cls._of_list(x, input_size, batch_first)
        if not isinstance(x, Tensor):
            raise ShapeError(f"x: got a {type(x).__name__}, want a tensor, a PackedSequence or a list of tensors")
        expect(x, "T I", name="x", sizes={"I": input_size})
        one = None if lengths is None else torch.as_tensor(lengths, device=x.device).reshape(1)
        return cls(x.unsqueeze(1), _checked(one, 1, x.shape[0]), "unbatched")

    @classmethod
    def _of_list(cls, sequences: Sequence[Tensor], input_size: int, batch_first: bool) -> Batch:
        if not sequences:
            raise ShapeError("x: got an empty list; want at least one sequence (T, I)")
        for i, sequence in enumerate(sequences):
            expect(sequence, "T I", name=f"x[{i}]", sizes={"I": input_size})
        lengths = torch.tensor([len(s) for s in sequences], device=sequences[0].device)
        return cls(pad_sequence(list(sequences)), lengths, "list", batch_first)

    @property
    def mask(self) -> Tensor | None:
        """(T, B), True where a row runs; None where all rows run to the end."""
        return None if self.lengths is None else running(self.lengths, self.x.shape[0])

    def leave(self, output: Tensor) -> Any:
        """``output`` (T, B, O) in the form the input had."""
        if self.form == "packed":
            assert self.packed is not None
            assert self.lengths is not None
            data = pack_padded_sequence(output, self.lengths.cpu()).data
            packed = self.packed
            return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        if self.form == "list":
            assert self.lengths is not None
            return [output[:length, i] for i, length in enumerate(self.lengths.tolist())]
        if self.form == "unbatched":
            return output.squeeze(1)
        return output.transpose(0, 1) if self.batch_first else output

    def rows_in(self, value: Tensor, dim: int) -> Tensor:
        """Something given for each row, along ``dim``, in the order of ``x``'s rows."""
        if self.packed is not None and self.packed.sorted_indices is not None:
            return value.index_select(dim, self.packed.sorted_indices)
        return value

    def steps_in(self, value: Tensor) -> Tensor:
        """A tensor given beside x, (T, B, ...) or as x is laid, as (T, B, ...) in the order of ``x``'s rows."""
        if self.form == "unbatched":
            return value.unsqueeze(1)
        return self.rows_in(value.transpose(0, 1) if self.batch_first else value, 1)

    def state_in(self, state: Tensor) -> Tensor:
        """A given state (L D, B, n), or (L D, n) for unbatched x, as (L D, B, n) in the order of ``x``'s rows."""
        if self.form == "unbatched" and state.dim() == 2:
            return state.unsqueeze(1)
        return self.rows_in(state, 1)

    def state_out(self, state: Tensor) -> Tensor:
        """The reverse of :meth:`state_in`."""
        if self.form == "unbatched":
            return state.squeeze(1)
        if self.packed is not None and self.packed.unsorted_indices is not None:
            return state.index_select(1, self.packed.unsorted_indices)
        return state


def _checked(lengths: Tensor | None, batch: int, steps: int) -> Tensor | None:
    if lengths is None:
        return None
    expect(lengths, "B", name="lengths", sizes={"B": batch})
    if batch and (lengths.is_floating_point() or lengths.dtype == torch.bool):
        raise ShapeError(f"lengths: got {lengths.dtype}, want whole numbers")
    if batch and not torch.compiler.is_compiling() and (int(lengths.min()) < 0 or int(lengths.max()) > steps):
        raise ShapeError(f"lengths: got {int(lengths.min())} to {int(lengths.max())}, want 0 to T={steps}")
    return lengths
