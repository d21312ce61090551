"""Calling torch's fused networks: their weights from a program's, lengths as packed sequences, both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elman import internals
from elman.backends.contract import Call, Result
from elman.backends.fused.recognise import Network, Term

CUDNN_MODES = {"rnn_relu": 0, "rnn_tanh": 1, "lstm": 2, "gru": 3}  # torch.backends.cudnn.rnn.get_cudnn_mode


def run(call: Call, network: Network, training: bool) -> Result:
    """Run ``call`` on torch's kernel; ``training`` where its gradient will be asked for."""
    if call.valid is not None:
        return _of_lengths(call, network, training)
    x = call.x.flip(0) if call.reverse else call.x
    output, states = _run(call, network, x, None, call.states, training)
    return Result(output.flip(0) if call.reverse else output, states)


def _run(
    call: Call, network: Network, x: Tensor, batch_sizes: Tensor | None, states: Sequence[Tensor], training: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer in one direction, over x (T, B, I) or, with ``batch_sizes``, packed rows."""
    weights = weights_of(call, network)
    hx = [state.unsqueeze(0).contiguous() for state in states]
    whole: Any = tuple(hx) if network.kind == "lstm" else hx[0]
    has_biases = len(weights) > (3 if network.projection else 2)
    options = (weights, has_biases, 1, 0.0, training, False)
    data = (x, whole, *options, False) if batch_sizes is None else (x, batch_sizes, whole, *options)
    kernel = internals.network(network.kind)
    assert kernel is not None  # refused before
    output, *finals = kernel(*data)
    return output, tuple(final.squeeze(0) for final in finals)


def _of_lengths(call: Call, network: Network, training: bool) -> Result:
    """Rows of unlike lengths, packed; the lengths are read on the host, as torch.nn's packing asks for them."""
    assert call.valid is not None
    steps, rows = call.valid.shape
    lengths = call.valid.sum(0)
    on_host = lengths.cpu()
    filled = on_host.nonzero()[:, 0].to(call.x.device)
    size = call.states[0].shape[1]
    if not len(filled):  # nothing runs; what is left hangs together with every leaf, its gradient 0
        nothing = sum(t.flatten()[:0].sum() for t in (call.x, *call.parameters.values()))
        return Result(call.states[0].new_zeros(steps, rows, size) + nothing, call.states)
    x = _turned(call.x, lengths) if call.reverse else call.x
    packed = pack_padded_sequence(x[:, filled], on_host[on_host > 0], enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    states = [state[filled][order] for state in call.states]
    data, finals = _run(call, network, packed.data, packed.batch_sizes, states, training)
    padded, _ = pad_packed_sequence(PackedSequence(data, packed.batch_sizes, order, back), total_length=steps)
    output = padded.new_zeros(steps, rows, padded.shape[2]).index_copy(1, filled, padded)
    output = _turned(output, lengths) if call.reverse else output
    ends = zip(call.states, finals, strict=True)
    return Result(output, tuple(s.to(f.dtype).index_copy(0, filled, f[back]) for s, f in ends))


def _turned(value: Tensor, lengths: Tensor) -> Tensor:
    """``value`` (T, B, n) with the steps of each row's length in reverse."""
    step = torch.arange(len(value), device=value.device).unsqueeze(1)
    source = torch.where(step < lengths, lengths - 1 - step, step)
    return value.gather(0, source.unsqueeze(-1).expand_as(value))


def weights_of(call: Call, network: Network) -> list[Tensor]:
    """torch's flat list: weight_ih, weight_hh, the biases where there are any, weight_hr with a projection."""
    names = own_names(call, network)
    if names:
        return [call.parameters[name] for name in names]
    gates = network.gates
    groups = [[g.x for g in gates], [g.h for g in gates]]
    biases = [[g.x_bias for g in gates], [g.h_bias for g in gates]]
    groups += biases if any(terms for group in biases for terms in group) else []
    hidden = call.states[-1].shape[1]
    widths = [call.x.shape[2], call.states[0].shape[1], None, None]
    weights = [
        torch.cat([_rows(call, terms, hidden, width) for terms in group])
        for group, width in zip(groups, widths, strict=False)
    ]
    return [*weights, _rows(call, network.projection, hidden, hidden)] if network.projection else weights


def own_names(call: Call, network: Network) -> tuple[str, ...]:
    """The program's parameters in torch's order where they are torch's as they stand; else none."""
    names, program = network.weight_names, call.program
    if names and all(tuple(row for row, _ in program.parameter(n).rows) == network.rows(n) for n in names):
        return names
    return ()


def _rows(call: Call, terms: tuple[Term, ...], hidden: int, width: int | None) -> Tensor:
    """The sum of a gate's terms in one group: rows of a matrix, or of a bias where ``width`` is None."""
    if not terms:
        like = next(iter(call.parameters.values()))
        return like.new_zeros(hidden) if width is None else like.new_zeros(hidden, width)
    products = []
    for term in terms:
        start, stop = call.program.parameter(term.parameter).span(term.rows, call.sizes)
        rows = call.parameters[term.parameter][start:stop]
        products.append(rows if term.factor == 1 else rows * term.factor)
    return products[0] if len(products) == 1 else torch.stack(products).sum(0)


def flatten(call: Call, network: Network) -> None:
    """Bring the weights into one stretch of memory, in place: cuDNN would copy them together at every call.

    torch.nn does it when a module is built or moved; here it is done at the first call that finds them apart.
    """
    weights = [call.parameters[name] for name in own_names(call, network)]
    if not weights or not weights[0].is_cuda or len({w.untyped_storage().data_ptr() for w in weights}) == 1:
        return
    apart = len({w.data_ptr() for w in weights}) == len(weights) and len({w.dtype for w in weights}) == 1
    if not apart or not all(w.is_leaf and torch.backends.cudnn.is_acceptable(w) for w in weights):
        return
    projection = call.states[0].shape[1] if network.projection else 0
    with torch.no_grad(), torch.cuda.device_of(weights[0]):
        internals.lay_together(
            weights, call.x.shape[2], CUDNN_MODES[network.kind], call.states[-1].shape[1], projection,
            1, False, False,
        )  # fmt: skip
