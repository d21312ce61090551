"""Windows as views, their split, scaling, and that nothing of the future leaks into training."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from elman.data import Scaler, Split, part_ends, split_windows, wave, windows
from elman.data.series.scaling import KINDS
from elman.errors import DataError, ShapeError


def targets_of(part: range, context: int, horizon: int) -> set[int]:
    """The indices of the values that are targets of the windows of a part."""
    return {w + context + step for w in part for step in range(horizon)}


percentages = st.tuples(st.integers(1, 100), st.integers(0, 100)).filter(lambda p: sum(p) <= 100)


# Splits


def test_the_split_of_the_tutorial():
    split = split_windows(len(wave("combined")), context=50, horizon=1, split=(80, 0, 20))
    assert (len(split.train), len(split.validation), len(split.test)) == (750, 0, 200)
    assert split == Split(range(0, 750), range(750, 750), range(750, 950), last_training_value=800)


def test_windows_that_straddle_a_cut_are_dropped():
    split = split_windows(29, context=6, horizon=4, split=(50, 25, 25))
    assert split == Split(range(0, 5), range(8, 12), range(15, 20), last_training_value=14)


def test_no_window_is_dropped_where_there_is_no_cut():
    assert split_windows(20, 4, 3, (100, 0, 0)) == Split(range(0, 14), range(14, 14), range(14, 14), 20)
    assert split_windows(20, 4, 3, (50, 50, 0)).validation == range(6, 14)


def test_percentages_are_the_decimals_that_were_written():
    assert split_windows(1001, 1, 1, (33.3, 33.3, 33.4)).test == range(665, 1000)
    assert len(split_windows(100, 1, 1, (29.0, 0.0, 71.0)).train) == 28


@settings(deadline=None)
@given(
    length=st.integers(2, 300),
    context=st.integers(1, 20),
    horizon=st.integers(1, 8),
    percents=percentages,
)
def test_no_target_is_in_two_parts(length, context, horizon, percents):
    first, second = percents
    try:
        split = split_windows(length, context, horizon, (first, second, 100 - first - second))
    except DataError as error:
        assert "no window is left" in str(error) or length < context + horizon  # noqa: PT017
        return
    sets = [targets_of(part, context, horizon) for part in (split.train, split.validation, split.test)]
    assert sum(map(len, sets)) == len(set.union(*sets))
    assert set.union(*sets) <= set(range(context, length))
    # The cuts are the same whatever the context and the horizon; every window within a part belongs to it.
    ends = part_ends(length, (first, second, 100 - first - second))
    assert ends == (math.floor(length * first / 100), math.floor(length * (first + second) / 100), length)
    assert split.last_training_value == ends[0]
    for start, end, targets in zip((0, *ends), ends, sets, strict=False):
        start = max(start, context)
        assert targets == (set(range(start, end)) if end - start >= horizon else set())


def test_a_validation_part_shorter_than_the_horizon_has_no_windows():
    split = split_windows(60, context=13, horizon=12, split=(70, 10, 20))
    assert split == Split(range(0, 18), range(29, 29), range(35, 36), last_training_value=42)


@pytest.mark.parametrize(
    "split", [(70, 10), (70, 10, 10), (0, 50, 50), (-10, 60, 50), (math.nan, 50, 50), (120, 0, -20)]
)
def test_percentages_that_make_no_split(split):
    with pytest.raises(DataError, match=r"split .*want"):
        split_windows(1000, 50, 1, split)


@pytest.mark.parametrize(
    ("length", "context", "horizon", "words"),
    [
        (10, 8, 3, r"series of 10 values is shorter than context \+ horizon = 8 \+ 3"),
        (10, 0, 1, "context 0"),
        (10, 1, 0, "horizon 0"),
        (15, 4, 4, r"no window is left for test: 20 % of 15 values are 3 \(context 4, horizon 4\)"),
        (4, 3, 1, "no window is left for training: 70 % of 4 values are 2"),
    ],
)
def test_series_too_short(length, context, horizon, words):
    with pytest.raises(DataError, match=words):
        split_windows(length, context, horizon, (70, 10, 20))


# Windows


@settings(deadline=None)
@given(
    length=st.integers(2, 40),
    context=st.integers(1, 6),
    horizon=st.integers(1, 4),
    columns=st.integers(1, 3),
    layout=st.sampled_from(["plain", "transposed", "offset"]),
)
def test_windows_are_the_slices_they_stand_for(length, context, horizon, columns, layout):
    values = torch.arange(float(length * columns)).reshape(length, columns)
    if layout == "transposed":
        values = values.T.contiguous().T
    if layout == "offset":
        values = torch.cat([torch.full((2, columns), -1.0), values])[2:]
    if length < context + horizon:
        with pytest.raises(DataError, match="shorter"):
            windows(values, context, horizon)
        return
    inputs, targets = windows(values, context, horizon)
    _, every = windows(values, context, horizon, every=True)
    assert len(inputs) == len(targets) == len(every) == length - context - horizon + 1
    for w in range(len(inputs)):
        assert torch.equal(inputs[w], values[w : w + context])
        assert torch.equal(targets[w], values[w + context : w + context + horizon])
        for step in range(context):
            assert torch.equal(every[w, step], values[w + step + 1 : w + step + 1 + horizon])


def test_windows_are_views():
    values = torch.zeros(20, 2)
    inputs, targets = windows(values, 5, 3)
    _, every = windows(values, 5, 3, every=True)
    for view in (inputs, targets, every):
        assert view.untyped_storage().data_ptr() == values.untyped_storage().data_ptr()
    values[7, 1] = 9.0
    assert inputs[3, 4, 1] == targets[1, 1, 1] == every[4, 2, 0, 1] == 9.0


def test_values_without_columns():
    with pytest.raises(ShapeError, match="values"):
        windows(torch.zeros(20), 5, 1)


# Scaling

numbers = st.floats(-1e6, 1e6, allow_nan=False, width=32)
tables = hnp.arrays(np.float64, st.tuples(st.integers(3, 12), st.integers(1, 3)), elements=numbers)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(values=tables, data=st.data())
def test_invert_undoes_transform(kind, values, data):
    seen = data.draw(st.integers(1, len(values)))
    scaler = Scaler.from_dict(json.loads(json.dumps(Scaler.fit(values[:seen], kind).to_dict())))
    z = scaler.transform(values)
    assert z.shape == values.shape
    assert np.isfinite(z).all()
    first = data.draw(st.integers(1, len(values) - 1))
    inverted = scaler.invert(z[first:], last=values[first - 1])
    np.testing.assert_allclose(inverted, values[first:], rtol=1e-9, atol=1e-9 * (1 + np.abs(values).max()))


@pytest.mark.parametrize("kind", KINDS)
def test_invert_takes_batches_of_windows(kind):
    values = np.random.default_rng(0).normal(size=(30, 2))
    scaler = Scaler.fit(values[:20], kind)
    z = torch.from_numpy(scaler.transform(values))
    _, targets = windows(z, 4, 3)
    _, every = windows(z, 4, 3, every=True)
    _, raw = windows(torch.from_numpy(values), 4, 3)
    last = values[3:-3]
    np.testing.assert_allclose(scaler.invert(targets.numpy(), last), raw, atol=1e-12)
    lasts = np.stack([values[w : w + 4] for w in range(len(raw))])
    np.testing.assert_allclose(scaler.invert(every.numpy(), lasts)[:, -1], raw, atol=1e-12)


def test_what_each_kind_does():
    values = np.array([[1.0, 5.0], [2.0, 5.0], [4.0, 5.0]])
    assert Scaler.fit(values, "standard").transform(values).mean(axis=0) == pytest.approx([0, 0])
    assert Scaler.fit(values, "standard").transform(values).std(axis=0) == pytest.approx([1, 0])
    assert Scaler.fit(values, "minmax").transform(values)[:, 0] == pytest.approx([0, 1 / 3, 1])
    assert (Scaler.fit(values, "none").transform(values) == values).all()
    assert Scaler.fit(values, "differences").transform(values).tolist() == [[0, 0], [2, 0], [4, 0]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_column_is_not_divided_by_nothing(kind):
    scaler = Scaler.fit(np.full((7, 1), 0.1), kind)
    assert scaler.scale.tolist() == [1.0]
    assert np.isfinite(scaler.transform(np.array([[0.1], [0.2]]))).all()
    line = Scaler.fit(np.arange(1, 9)[:, None] * 0.1, "differences")
    assert line.scale.tolist() == [1.0]


def test_scalers_that_cannot_be():
    with pytest.raises(DataError, match="did you mean 'standard'"):
        Scaler.fit(np.ones((2, 1)), "standrad")
    with pytest.raises(DataError, match="N above 0"):
        Scaler.fit(np.ones((0, 1)), "standard")
    for facts in (
        {},
        {"kind": "none", "shift": [0], "scale": [0]},
        {"kind": "x", "shift": [0], "scale": [1]},
        {"kind": "none", "shift": [None], "scale": [1]},
        {"kind": "none", "shift": [0], "scale": [float("inf")]},
    ):
        with pytest.raises(DataError, match="cannot be read"):
            Scaler.from_dict(facts)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("kind", "column"),
    [
        ("standard", [1e200, -1e200, 3e200]),
        ("standard", [1e308, 1.5e308, 1.7e308]),
        ("minmax", [-1e308, 1e308]),
        ("none", [1.0, 1e45]),
        ("none", [-1e45, 1e45]),
        ("differences", [1.7e308, -1.7e308, 0.0]),
        ("differences", [0.0, 1e200, 0.0]),
        ("standard", [0.0, float("nan")]),
    ],
)
def test_values_too_large_to_scale_are_refused(kind, column):
    values = np.stack([np.ones(len(column)), column], axis=1)
    with pytest.raises(DataError, match=rf"scaler '{kind}': column 1 \(counted from 0\).*larger unit"):
        Scaler.fit(values, kind)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("kind", "largest"), [("standard", 1e150), ("minmax", 5e307), ("none", 3e38), ("differences", 1e150)]
)
def test_large_values_that_can_be_scaled_are(kind, largest):
    values = np.array([[largest], [-largest], [0.0]])
    scaler = Scaler.fit(values, kind)
    assert np.isfinite(scaler.transform(values).astype(np.float32)).all()
    assert Scaler.from_dict(json.loads(json.dumps(scaler.to_dict(), allow_nan=False))).kind == kind


# Leakage


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("horizon", [1, 4])
def test_the_future_moves_nothing_in_training(kind, every, horizon):
    def training(values):
        split = split_windows(len(values), context=10, horizon=horizon)
        scaler = Scaler.fit(values[: split.last_training_value], kind)
        z = torch.from_numpy(scaler.transform(values))
        inputs, targets = windows(z, 10, horizon, every)
        part = slice(split.train.start, split.train.stop)
        return scaler, inputs[part], targets[part], split.last_training_value

    values = np.random.default_rng(0).normal(size=(100, 2))
    scaler, inputs, targets, edge = training(values)
    future = values.copy()
    future[edge:] += 1000.0
    other, other_inputs, other_targets, _ = training(future)
    assert scaler.to_dict() == other.to_dict()
    assert torch.equal(inputs, other_inputs)
    assert torch.equal(targets, other_targets)
    future[edge - 1] += 1000.0  # the last training target itself does count
    assert not torch.equal(targets, training(future)[2])
