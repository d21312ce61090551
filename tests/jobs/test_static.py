"""What is the same in all rows of a series: read, refused, kept, and of use to the network."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import elman
from elman.data import read_panel, read_series
from elman.errors import DataError
from elman.jobs import PanelForecaster

QUICK = {"hidden": 4, "epochs": 1, "season": 0}


def table(series=6, rows=40, seed=0):
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "shop": np.repeat([f"s{i}" for i in range(series)], rows),
            "sales": 10 + random.normal(size=series * rows),
            "kind": np.repeat([("city", "village", "port")[i % 3] for i in range(series)], rows),
            "area": np.repeat(100.0 + 50 * np.arange(series), rows),
        }
    )


READ = {"id": "shop", "target": "sales", "static": ["kind", "area"]}


def test_static_columns_are_read_kept_and_told_to_the_network(tmp_path):
    panel = read_panel(table(), **READ)
    assert panel.static.of == ("kind", "kind", "kind", "area")
    assert panel.static.values[1].tolist() == [0.0, 0.0, 1.0, 150.0]
    assert panel.taken([4, 1]).static.values[1].tolist() == [0.0, 0.0, 1.0, 150.0]
    forecaster = PanelForecaster("rnn", **QUICK, horizon=2)
    forecaster.fit(table(), run=tmp_path / "run", **READ)
    assert any(note == "static: kind, area, read by the network beside each series" for note in forecaster.notes)
    task = forecaster.task
    assert task.static[:, 3].mean() == pytest.approx(0)
    assert task.static[:, 3].std() == pytest.approx(1)
    task.measured(np.array([2, 0]))
    x = task.contexts(task.train.taken([0, 1])).unsqueeze(1)
    read, _ = task.model.sequences(x)
    assert np.allclose(read[:, 0, -4:], task.static[2])
    assert np.allclose(read[:, 1, -4:], task.static[0])
    again = elman.jobs.load(tmp_path / "run")
    assert np.array_equal(again.predict(5, levels=[80]).values, forecaster.predict(5, levels=[80]).values)
    # Newer data need not say again what does not change.
    newer = table(rows=45).drop("kind", "area")
    assert again.predict(2, newer).values.shape == (6, 2)


def test_newer_data_says_it_of_new_series_and_an_unknown_kind_counts_for_nothing():
    forecaster = PanelForecaster("rnn", **QUICK, horizon=2)
    forecaster.fit(table(), **READ)
    newer = table(series=7, rows=45)
    newer = newer.with_columns(kind=pl.when(pl.col("shop") == "s6").then(pl.lit("airport")).otherwise("kind"))
    forecaster.update(newer, recipe={"epochs": 1})
    assert forecaster.panel.static.values[6].tolist() == [0.0, 0.0, 0.0, 400.0]
    assert forecaster.predict().values.shape == (7, 2)
    with pytest.raises(DataError, match="says nothing of kind, area"):
        forecaster.update({f"s{i}": np.arange(60.0) for i in range(7)}, recipe={"epochs": 1})


def test_what_cannot_be_static_is_refused(tmp_path):
    changing = table().with_columns(kind=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("hill")).otherwise("kind"))
    with pytest.raises(
        DataError, match=r"row 7 .*column 'kind' of series 's0' is 'hill', and was 'city'; what changes"
    ):
        read_panel(changing, **READ)
    empty = table().with_columns(area=pl.when(pl.col("shop") == "s2").then(None).otherwise("area"))
    with pytest.raises(DataError, match="series 's2' has nothing in column 'area'"):
        read_panel(empty, **READ)
    some = table().with_columns(area=pl.when(pl.int_range(pl.len()) % 2 == 0).then(None).otherwise("area"))
    assert read_panel(some, **READ).static.values[1, 3] == 150
    with pytest.raises(DataError, match="no column 'size'"):
        read_panel(table(), **READ | {"static": "size"})
    with pytest.raises(DataError, match="asked for twice"):
        read_panel(table(), **READ | {"static": ["kind", "kind"]})
    with pytest.raises(DataError, match="`static`: is of many series"):
        read_series(table().filter(pl.col("shop") == "s1"), target="sales", static="kind")
    wide = pl.DataFrame({"name": ["a", "b"], "1": [1.0, 2.0], "2": [3.0, 4.0]})
    with pytest.raises(DataError, match="each row is a series"):
        read_panel(wide, id="name", static="1")
    table().write_parquet(tmp_path / "sales.parquet")
    with pytest.raises(DataError, match="not read piece by piece"):
        read_panel(tmp_path / "sales.parquet", **READ, memory=64)


def test_what_is_static_helps_where_it_tells_how_a_series_goes_on():
    """A value far from 0, on either side, is followed by a fall in one kind and a rise in the other."""
    random = np.random.default_rng(0)
    kinds, rows = np.arange(160) % 2, []
    for s, kind in enumerate(kinds):
        value = 0.0
        for _ in range(26):
            value = (1.5 if kind else -1.5) * np.cos(2 * value) + 0.7 * random.normal()
            rows.append((f"s{s}", value, ("falls", "rises")[kind]))
    data = pl.DataFrame(rows, schema=["id", "y", "kind"], orient="row")
    losses = {}
    for static in (None, "kind"):
        forecaster = PanelForecaster("gru", hidden=16, epochs=8, season=0, context=4, lr=0.01)
        history = forecaster.fit(data, id="id", target="y", static=static)
        losses[static] = history.best_loss
    assert losses["kind"] < 0.98 * losses[None]
