"""Parquet files read piece by piece: the same series as read at once, whatever the files and the pieces."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elman.choices.reading import ReadConfig
from elman.data import panel_in, read_panel
from elman.data.series import folders
from elman.data.series.folders import panel_of_files
from elman.data.series.stored import StoredPanel
from elman.errors import DataError, RunError
from elman.jobs import PanelForecaster, load

QUICK = {"cell": "rnn", "hidden": 4, "epochs": 2, "batch": 16, "horizon": 2}
STEPS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "1w": timedelta(weeks=1)}


def table(lengths, step=timedelta(days=1), seed=0, missing=0):
    """A long table: shop, day, sales; some cells empty."""
    numbers = np.random.default_rng(seed)
    frame = pl.DataFrame(
        [
            (f"s{s}", datetime(2021, 1, 4) + (t + 2 * s) * step, 10.0 * s + float(numbers.normal()))
            for s, length in enumerate(lengths)
            for t in range(length)
        ],
        schema={"shop": pl.String, "day": pl.Datetime("us"), "sales": pl.Float64},
        orient="row",
    )
    empty = numbers.choice(len(frame), size=missing, replace=False)
    return frame.with_columns(
        pl.when(pl.int_range(pl.len()).is_in(empty.tolist())).then(None).otherwise(pl.col("sales")).alias("sales")
    )


def write(folder: Path, frame: pl.DataFrame, files: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    cuts = np.linspace(0, len(frame), files + 1).astype(int)
    for number, (start, stop) in enumerate(pairwise(cuts.tolist())):
        frame[start:stop].write_parquet(folder / f"{number:03}.parquet", row_group_size=7)
    return folder


def same(panel, other):
    assert panel.names == other.names
    assert panel.step == other.step
    assert np.array_equal(panel.lengths, other.lengths)
    for one, another in zip(panel.series, other.series, strict=True):
        assert np.array_equal(one.values, another.values)
        assert one.zone == another.zone
        assert (one.times is None) == (another.times is None)
        assert one.times is None or np.array_equal(one.times, another.times)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(2, 30), min_size=1, max_size=6),
    step=st.sampled_from(sorted(STEPS)),
    order=st.sampled_from(["by series", "by date", "shuffled"]),
    files=st.integers(1, 5),
    size=st.integers(1, 50),
    fill=st.booleans(),
    seed=st.integers(0, 99),
)
def test_piece_by_piece_is_as_at_once(tmp_path_factory, lengths, step, order, files, size, fill, seed):
    folder = tmp_path_factory.mktemp("parquet")
    frame = table(lengths, STEPS[step], seed, missing=min(2, sum(lengths) - 2) if fill else 0)
    if order == "by date":
        frame = frame.sort("day", maintain_order=True)
    if order == "shuffled":
        frame = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    config = ReadConfig(id="shop", fill="interpolate" if fill else None)
    reading = {"id": "shop", "time": "day", "target": "sales", "fill": config.fill}
    try:
        at_once = read_panel(frame, **reading)
    except DataError:
        with pytest.raises(DataError, match=r"no value at all|steps of"):
            panel_of_files(write(folder, frame, files), config)
        return
    pieces = folders.Pieces(str(write(folder, frame, files)), config)
    pieces.size = size
    same(StoredPanel(folder / "panel", pieces.write(folder / "panel")), at_once)
    assert {path.name for path in folder.iterdir() if path.suffix != ".parquet"} == {"panel"}


@pytest.mark.parametrize(
    ("column", "reading"),
    [
        (pl.col("day").dt.date(), {}),
        (pl.col("day").dt.strftime("%Y-%m-%d"), {}),
        (pl.col("day").dt.strftime("%d/%m/%Y"), {"date_format": "%d/%m/%Y"}),
        (pl.col("day").dt.replace_time_zone("Europe/Berlin"), {}),
        (pl.col("day").dt.strftime("%Y%m%d").cast(pl.Int64), {"date_format": "%Y%m%d"}),
        (pl.col("day").dt.epoch("s"), {"date_format": "unix"}),
        (pl.int_range(pl.len()).over("shop"), {"time": "day"}),
    ],
)
def test_dates_of_every_kind(tmp_path, column, reading):
    frame = table([12, 9]).with_columns(column.alias("day"))
    at_once = read_panel(
        frame, id="shop", time="day", target="sales", **{k: v for k, v in reading.items() if k != "time"}
    )
    same(read_panel(write(tmp_path / "p", frame, 3), id="shop", **reading), at_once)


def test_names_in_the_folders_and_numbers_as_names(tmp_path):
    frame = table([12, 9])
    for number in range(2):
        part = frame.filter(pl.col("shop") == f"s{number}").drop("shop")
        write(tmp_path / "p" / f"shop={number}", part, 2)
    panel = panel_in(tmp_path / "p", id="shop")
    assert panel.names == ("0", "1")
    same(panel, read_panel(frame.with_columns(pl.col("shop").str.slice(1)), id="shop", time="day", target="sales"))


def test_categories_are_names_and_notes_are_few(tmp_path):
    frame = table([12] * 40)
    gap = frame.filter(pl.int_range(pl.len()) % 12 != 5).with_columns(pl.col("shop").cast(pl.Categorical))
    panel = read_panel(write(tmp_path / "p", gap, 3), id="shop", fill="previous")
    assert panel.names == tuple(f"s{i}" for i in range(40))
    assert panel.lengths.tolist() == [12] * 40
    assert len(panel.notes) < 30


def test_gaps_are_filled_and_named(tmp_path):
    frame = table([12, 9]).filter(pl.int_range(pl.len()) != 5)
    folder = write(tmp_path / "p", frame, 2)
    with pytest.raises(DataError, match=r"series 's0'.*gap between 2021-01-08 and 2021-01-10"):
        read_panel(folder, id="shop")
    same(
        read_panel(folder, id="shop", fill="previous"),
        read_panel(frame, id="shop", time="day", target="sales", fill="previous"),
    )


@pytest.mark.parametrize(
    ("files", "reading", "message"),
    [
        ({}, {}, "is a folder without .parquet files"),
        ({"a.parquet": b"nonsense"}, {}, r"a\.parquet: is no Parquet file that can be read"),
        ({"a.parquet": {"shop": ["a"], "x": [1.0]}}, {"id": "sop"}, "no column 'sop'; did you mean 'shop'"),
        ({"a.parquet": {"shop": ["a", None], "x": [1.0, 2.0]}}, {}, r"a\.parquet: row 1 .*'shop' is empty"),
        ({"a.parquet": {"shop": ["a"], "x": [1.0]}, "b.parquet": {"shop": ["a"]}}, {}, r"b\.parquet: lacks a column"),
        (
            {"a.parquet": {"shop": ["a", "a"], "x": [1.0, None]}},
            {},
            "series 'a': row 1 .value, counted from 0.*is empty",
        ),
        ({"a.parquet": {"shop": ["a", "a"], "x": [1.0, float("inf")]}}, {}, "holds infinity"),
        ({"a.parquet": {"shop": ["a"] * 2, "t": ["x", "y"], "x": [1.0, 2.0]}}, {"time": "t"}, "give the `date_format`"),
        ({"a.parquet": {"shop": ["a"] * 2, "t": [20240101, 20240102], "x": [1.0, 2.0]}}, {"time": "t"}, "say which"),
        ({"a.parquet": {"shop": ["a"] * 3, "t": [1, 2, 4], "x": [1.0, 2.0, 3.0]}}, {"time": "t"}, "from 2 to 4"),
        ({"a.parquet": {"shop": ["a"], "x": [1.0], "y": [2.0]}}, {}, "2 columns of numbers; name one with `target`"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, files, reading, message):
    folder = tmp_path / "p"
    folder.mkdir()
    for name, content in files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            pl.DataFrame(content).write_parquet(folder / name)
    beside = tmp_path / "beside"
    with pytest.raises(DataError, match=message):
        read_panel(folder, beside=beside, **{"id": "shop", **reading})
    assert not beside.exists() or not list(beside.iterdir())


def test_memory_is_of_files_of_several_series(tmp_path):
    frame = table([12, 9])
    frame.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="`memory`: is of Parquet files of several series"):
        read_panel(frame, id="shop", memory=100)
    same(
        read_panel(tmp_path / "a.parquet", id="shop", memory=100),
        read_panel(tmp_path / "a.parquet", id="shop", time="day", target="sales"),
    )


# Training


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A network trained on a folder, and one on the same series at once."""
    folder = tmp_path_factory.mktemp("both")
    frame = table([60, 95, 44]).sort("day", maintain_order=True)
    stored, at_once = PanelForecaster(**QUICK), PanelForecaster(**QUICK)
    stored.fit(write(folder / "p", frame, 4), run=folder / "stored", id="shop")
    at_once.fit(read_panel(frame, id="shop", time="day", target="sales"), run=folder / "at_once")
    return folder, stored, at_once


def test_a_network_learns_the_same_from_a_folder(both):
    _, stored, at_once = both
    for one, other in zip(stored.model.state_dict().values(), at_once.model.state_dict().values(), strict=True):
        assert np.array_equal(one.numpy(), other.numpy())
    assert json.dumps(stored.test()) == json.dumps(at_once.test())
    assert np.array_equal(stored.predict(5).values, at_once.predict(5).values)
    assert stored.predict(5).dates == at_once.predict(5).dates


def test_its_run_needs_the_folder_no_more(both, tmp_path):
    folder, stored, _ = both
    assert sorted(os.listdir(folder)) == ["at_once", "p", "stored"]
    (folder / "p").rename(tmp_path / "gone")
    run = shutil.copytree(folder / "stored", tmp_path / "run")
    again = load(run)
    assert np.array_equal(again.predict(3, levels=[80]).values, stored.predict(3).values)
    assert again.draw(tmp_path)
    with open(run / "data.bin", "r+b") as file:
        file.write(b"changed")
    with pytest.raises(RunError, match="is not the data of this run"):
        load(run)


def test_a_series_too_short_is_named(tmp_path):
    folder = write(tmp_path / "p", table([60, 2]), 1)
    with pytest.raises(DataError, match=r"too short .*s1"):
        PanelForecaster(**QUICK).fit(folder, id="shop")
    alone = PanelForecaster(**QUICK)
    alone.fit(write(tmp_path / "q", table([60]), 1), id="shop")
    skipping = PanelForecaster(**QUICK, short="skip")
    skipping.fit(write(tmp_path / "r", table([2, 60], seed=1), 1), run=tmp_path / "run", id="shop")
    assert "left out as too short: s0" in " ".join(skipping.notes)
    again = load(tmp_path / "run")
    assert again.panel.names == ("s1",)
    assert np.array_equal(again.predict(4).values, skipping.predict(4).values)
    assert again.predict(4).values.shape == alone.predict(4).values.shape


@pytest.mark.slow
def test_a_large_folder_trains_in_little_memory(tmp_path):
    """Five gigabytes, or as many as ELMAN_LARGE says: half an hour, and six times as much room on the disk."""
    size = float(os.environ.get("ELMAN_LARGE", "5"))
    if shutil.disk_usage(tmp_path).free < 6e9 * size:
        pytest.skip("too little room on the disk")
    benchmark = Path(__file__).parents[2] / "benchmarks" / "large_panel.py"
    module = runpy.run_path(str(benchmark))
    assert module["write"](tmp_path / "parquet", size) > 0.95e9 * size
    command = [sys.executable, benchmark, "--folder", tmp_path, "--as", "pieces"]
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["peak_mib"] < 1500


def test_how_much_is_read_at_once_is_not_said_of_newer_data(tmp_path):
    frame = table([60, 70])
    forecaster = PanelForecaster(**QUICK)
    forecaster.fit(write(tmp_path / "p", frame, 2), id="shop", memory=100)
    assert np.array_equal(forecaster.predict(2, frame).values, forecaster.predict(2).values)


def test_newer_files_go_on(both, tmp_path):
    folder, *_ = both
    newer = table([70, 101, 60]).sort("day", maintain_order=True)
    ours, theirs = load(folder / "stored"), load(folder / "at_once")
    ours.update(write(tmp_path / "q", newer, 3), run=tmp_path / "ours")
    theirs.update(read_panel(newer, id="shop", time="day", target="sales"), run=tmp_path / "theirs")
    for one, other in zip(ours.model.state_dict().values(), theirs.model.state_dict().values(), strict=True):
        assert np.array_equal(one.numpy(), other.numpy())
    again = load(tmp_path / "ours")
    assert np.array_equal(again.predict(3).values, theirs.predict(3).values)
    with open(tmp_path / "ours" / "data.safetensors", "r+b") as file:
        file.write(b"damaged")
    with pytest.raises(RunError):
        load(tmp_path / "ours")
