"""Sweeps: every combination is trained and tested once, whatever interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elman.cli import run as command
from elman.errors import ElmanError
from elman.jobs.sweep import SweepConfig, _kept, sweep

SWEEP = """
data = "wave:combined"
[fixed]
epochs = {epochs}
context = 20
network_alone = true
stateful = false
[over]
cell = ["rnn", "gru"]
hidden = [4, 8]
seed = [1]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "sizes.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data = 3", "`data`|data"),
        ('data = "a"', "over"),
        ('data = "a"\n[over]', "got no values"),
        ('data = "a"\n[over]\ncell = []', "got no values for cell"),
        ('data = "a"\ntask = "guess"\n[over]\ncell = ["rnn"]', "task"),
        ('data = "a"\n[fixed]\ncell = "gru"\n[over]\ncell = ["rnn"]', r"cell: stands in \[fixed\] and in \[over\]"),
        ("data = ", "cannot be read"),
    ],
)
def test_what_is_no_sweep_is_refused_in_a_line(tmp_path, capsys, text, message):
    path = written(tmp_path, text)
    with pytest.raises(ElmanError, match=message):
        SweepConfig.read(path)
    assert command(["sweep", str(path), "-o", str(tmp_path / "out")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_results_that_were_cut_short_are_made_again(tmp_path):
    config = SweepConfig(data="wave:sine", over={"cell": ["rnn", "gru"]})
    assert _kept(tmp_path, config) == []
    first = {"name": "cell-rnn", "best_loss": 1.0}
    lines = [json.dumps(first), json.dumps({"name": "cell-gru", "failed": "so"})]
    (tmp_path / "results.jsonl").write_text("\n".join(lines) + '\n{"name": "cell-g}')
    assert _kept(tmp_path, config) == [first]
    assert (tmp_path / "results.jsonl").read_text() == json.dumps(first) + "\n"


def test_every_combination_has_a_name_of_its_own():
    config = SweepConfig(data="a", over={"cell": ["a/b", "a-b"], "split": ["80,10,10", "70,10,20"]})
    assert len(config.trials()) == 4
    assert next(iter(config.trials().values())) == {"cell": "a/b", "split": "80,10,10"}
    assert all("/" not in name for name in config.trials())


@pytest.mark.full
def test_a_sweep_trains_and_tests_each_once_and_ranks_by_validation(tmp_path, capsys):
    path, out = written(tmp_path, SWEEP.format(epochs=2)), tmp_path / "out"
    assert command(["sweep", str(path), "-o", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    losses = [row["best_loss"] for row in result["runs"]]
    assert len(losses) == 4
    assert losses == sorted(losses)
    for row in result["runs"]:
        tested = subprocess.run(
            [sys.executable, "-m", "elman", "test", str(out / row["name"]), "--json"], capture_output=True, check=True
        )
        assert json.loads(tested.stdout)["test"]["mse"] == row["test"]["mse"]
    before = (out / "results.jsonl").read_bytes()
    assert command(["sweep", str(path), "-o", str(out)]) == 0  # nothing is left to do
    assert (out / "results.jsonl").read_bytes() == before
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:5] == ["cell", "hidden", "seed", "parameters", "epochs"]
    assert len(table) == 6
    assert command(["sweep", str(written(tmp_path, SWEEP.format(epochs=3))), "-o", str(out)]) == 2
    assert "holds another sweep" in capsys.readouterr().err


@pytest.mark.full
def test_a_run_that_fails_does_not_end_the_others(tmp_path, capsys):
    text = 'data = "wave:combined"\n[fixed]\nepochs = 1\n[over]\ncell = ["rnn", "lstn"]'
    assert command(["sweep", str(written(tmp_path, text)), "-o", str(tmp_path / "out"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["choices"]["cell"] for row in result["runs"]] == ["rnn"]
    assert "did you mean 'lstm'" in result["failed"][0]["failed"]


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on(tmp_path):
    path, out = written(tmp_path, SWEEP.format(epochs=150).replace("[4, 8]", "[8]")), tmp_path / "out"
    arguments = [sys.executable, "-m", "elman", "sweep", str(path), "-o", str(out), "--workers", "2"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not list(out.glob("*/metrics.jsonl")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on" in text
    begun = {path: path.read_text().count("\n") for path in out.glob("*/metrics.jsonl")}
    assert begun
    done = subprocess.run(arguments, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert len((out / "results.jsonl").read_text().splitlines()) == 2
    for metrics in begun:
        rows = [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()]
        assert rows == [*range(1, 151)]


@pytest.mark.slow
def test_a_sweep_runs_on_ray(tmp_path):
    pytest.importorskip("ray")
    text = 'data = "wave:sine"\n[fixed]\nepochs = 1\nhidden = 4\n[over]\ncell = ["rnn", "gru"]\nseed = [1, 2, 3]'
    result = sweep(SweepConfig.read(written(tmp_path, text)), tmp_path / "out", workers=2, ray="local")
    assert len(result.ranked()) == 6


def test_ray_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ElmanError, match=r"pip install 'elman\[ray\]'"):
        sweep(SweepConfig(data="wave:sine", over={"cell": ["rnn"]}), tmp_path / "out", ray="local")


def test_tensorboard_gets_the_numbers_of_each_epoch(tmp_path, capsys, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    arguments = ["train", "forecast", "wave:sine", "--epochs", "3", "--hidden", "4", "--network-alone", "-o", str(run)]
    assert command([*arguments, "--log", "tensorboard"]) == 0
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name in ("train_loss", "validation_loss", "lr"):
        seen = [(event.step, event.value) for event in events.Scalars(name)]
        assert seen == [(row["epoch"], pytest.approx(row[name], rel=1e-6)) for row in rows]
    assert command(["test", str(run)]) == 0
