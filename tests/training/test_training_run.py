"""The run folder: made whole or not at all, and refused by name when it is not what it says."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import BaseModel, ConfigDict

from elman.choices.recipe import Computation, Saving
from elman.errors import ElmanError, RunError
from elman.training import Recipe, Run, RunConfig, checked, fit, load_tensors, task_of
from training_tasks import LineTask

ROW = {
    "epoch": 1,
    "train_loss": 0.5,
    "validation_loss": 0.25,
    "lr": 0.1,
    "grad_norm": 1.0,
    "clipped": 0,
    "seconds": 0.125,
}


class CountConfig(RunConfig):
    task: Literal["count"] = "count"
    hidden: int = 32
    recipe: Recipe = Recipe()


class SortConfig(RunConfig):
    task: Literal["sort"] = "sort"


@pytest.fixture
def run(tmp_path):
    run = Run.create(tmp_path / "r", CountConfig(hidden=8), {"counts": np.arange(4)})
    run.save_weights({"w": torch.ones(2)})
    return run


def edit(run, **changes):
    path = run.path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(run, config=CountConfig) -> str:
    with pytest.raises(RunError) as caught:
        Run.open(run.path, config)
    assert str(run.path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_created_opens_again(run):
    again = Run.open(str(run.path), CountConfig)
    assert again.config == run.config
    assert again.config.format == 1
    assert torch.equal(again.weights()["w"], torch.ones(2))
    assert task_of(run.path) == "count"
    assert sorted(os.listdir(run.path)) == ["config.json", "data.safetensors", "model.safetensors"]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0)[::-2],
        np.arange(6.0).reshape(2, 3).T,
        np.float64(1 / 3) * np.ones(()),
        np.zeros((0, 2), dtype=np.int64),
        np.broadcast_to(np.float32(2), (3,)),
    ],
    ids=["backwards", "transposed", "scalar", "empty", "read-only"],
)
def test_arrays_come_back(tmp_path, array):
    back = Run.create(tmp_path / "r", CountConfig(), {"a": array}).arrays()["a"]
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_what_is_in_the_way_is_refused_with_the_way_out(run, tmp_path):
    with pytest.raises(RunError, match=r"r: holds a run already; choose another `run`.*`resume`"):
        Run.create(run.path, CountConfig())
    (tmp_path / "file").write_text("mine")
    os.symlink(tmp_path / "nowhere", tmp_path / "link")
    (tmp_path / "empty").mkdir()
    for name in ("file", "link", "empty"):
        with pytest.raises(RunError, match=f"{name}: is there already; choose another `run`"):
            Run.create(tmp_path / name, CountConfig())
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_failed_create_leaves_no_folder(tmp_path, monkeypatch, call):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(RunError, match="r: No space left"):
        Run.create(tmp_path / "r", CountConfig(), {"a": np.ones(3)})
    assert os.listdir(tmp_path) == []


def test_the_folder_appears_with_everything_in_it(tmp_path, monkeypatch):
    seen = []
    rename = os.rename

    def watched(source, target):
        seen.append((sorted(os.listdir(source)), os.path.exists(target)))
        rename(source, target)

    monkeypatch.setattr(os, "rename", watched)
    Run.create(tmp_path / "new" / "r", CountConfig(), {"a": np.ones(3)})
    assert seen == [(["config.json", "data.safetensors"], False)]
    assert os.listdir(tmp_path / "new") == ["r"]


def test_permissions_are_the_umasks(tmp_path):
    before = os.umask(0o027)
    try:
        run = Run.create(tmp_path / "r", CountConfig(), {"a": np.ones(3)})
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in [run.path, *run.path.iterdir()]}
    assert modes == {"r": 0o750, "config.json": 0o640, "data.safetensors": 0o640}


def test_a_config_is_refused_by_name(run):
    edit(run, hiden=3)
    assert "config.json: hiden: is not known; did you mean 'hidden'?" in refusal(run)
    edit(run, format=2)
    assert "newer Elman (format 2, this one reads 1)" in refusal(run)
    edit(run, format="1")
    assert "has no format number" in refusal(run)
    (run.path / "config.json").write_text("[]")
    assert "has no format number" in refusal(run)
    (run.path / "config.json").write_text('{"format": 1,')
    assert "is not valid JSON" in refusal(run)
    (run.path / "config.json").write_bytes(b"\xff\xfe")
    assert "is not valid JSON" in refusal(run)


@pytest.mark.parametrize("depth", [500, 900, 1100, 10_000, 100_000])
def test_a_config_nested_too_deeply_is_refused(run, depth):
    raw = json.loads((run.path / "config.json").read_text())
    nest = "[" * depth + "]" * depth
    (run.path / "config.json").write_text(json.dumps({**raw, "hidden": "nest"}).replace('"nest"', nest))
    assert len(refusal(run)) < 500
    with suppress(RunError):
        task_of(run.path)


def test_a_nest_where_anything_may_stand_is_read_or_refused(run):
    class AnyConfig(CountConfig):
        data: Any = None

    raw = json.loads((run.path / "config.json").read_text())
    for depth in (*range(100, 1200, 50), 10_000):
        text = json.dumps({**raw, "data": "nest"}).replace('"nest"', "[" * depth + "]" * depth)
        (run.path / "config.json").write_text(text)
        with suppress(RunError):
            Run.open(run.path, AnyConfig)


LONG = "n" * 300


def test_names_too_long_are_refused_by_name(tmp_path):
    for path in (tmp_path / LONG, tmp_path / LONG / "r"):
        for call in (
            lambda path: Run.create(path, CountConfig()),
            lambda path: Run.open(path, CountConfig),
            task_of,
            load_tensors,
        ):
            with pytest.raises(RunError, match=f"{LONG}.*: File name too long"):
                call(path)
    assert os.listdir(tmp_path) == []


def test_folders_one_may_not_enter_are_refused_by_name(run, monkeypatch):
    real = os.stat

    def refuse(path, *args, **options):
        if "model" in str(path) or "locked" in str(path):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", refuse)
    monkeypatch.setattr(os, "lstat", refuse)
    locked = run.path / "locked" / "r"
    for call in (lambda: Run.create(locked, CountConfig()), lambda: Run.open(locked, CountConfig)):
        with pytest.raises(RunError, match=r"locked/r: Permission denied"):
            call()
    for call in (run.weights, run.begun, lambda: Run.open(run.path, CountConfig)):
        with pytest.raises(RunError, match=r"model.safetensors: Permission denied"):
            call()


def test_another_tasks_run_is_refused(run):
    assert "is a run of task 'count', not 'sort'" in refusal(run, SortConfig)


def test_a_value_inside_is_named_by_its_path(run):
    edit(run, recipe={"lr": -1})
    assert "recipe.lr: got -1, want greater than 0" in refusal(run)


def test_what_is_no_run_is_refused_saying_what_is_missing(run, tmp_path):
    for path, why in [(tmp_path, "it has no config.json"), (tmp_path / "no", "it is not there")]:
        with pytest.raises(RunError, match=f"is not a run: {why}"):
            Run.open(path, CountConfig)
    with pytest.raises(RunError, match="not a folder"):
        Run.open(run.path / "config.json", CountConfig)


def test_without_weights_a_run_opens_only_to_be_resumed(run):
    (run.path / "model.safetensors").unlink()
    assert "training stopped before its first epoch ended; go on with `resume`" in refusal(run)
    with pytest.raises(RunError, match="go on with `resume`"):
        Run.open(run.path, CountConfig, trained=False).weights()


def test_a_changed_config_is_refused_but_not_a_reformatted_one(run):
    path = run.path / "config.json"
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    Run.open(run.path, CountConfig).weights()
    edit(run, hidden=9)
    with pytest.raises(RunError, match=r"config.json: was changed since the weights were saved"):
        Run.open(run.path, CountConfig).weights()


def test_another_runs_weights_are_refused(run, tmp_path):
    other = Run.create(tmp_path / "other", CountConfig(hidden=9))
    shutil.copy(run.path / "model.safetensors", other.path)
    with pytest.raises(RunError, match="was changed"):
        other.weights()


def test_another_runs_data_is_refused(run, tmp_path):
    twin = Run.create(tmp_path / "twin", run.config, {"counts": np.arange(4)})
    other = Run.create(tmp_path / "other", CountConfig(hidden=8), {"counts": np.arange(5)})
    shutil.copy(twin.path / "data.safetensors", run.path)
    assert Run.open(run.path, CountConfig).arrays()["counts"].tolist() == [0, 1, 2, 3]
    shutil.copy(other.path / "data.safetensors", run.path)
    with pytest.raises(RunError, match=r"r/data.safetensors: is not the data of this run.*restore"):
        Run.open(run.path, CountConfig).arrays()
    with pytest.raises(RunError, match="is not the data of this run"):
        run.arrays()


def test_the_checksum_of_the_data_is_the_configs_and_the_users_tools(run, tmp_path):
    data = (run.path / "data.safetensors").read_bytes()
    assert run.config.data_checksum == hashlib.sha256(data).hexdigest()
    assert json.loads((run.path / "config.json").read_text())["data_checksum"] == run.config.data_checksum
    without = Run.create(tmp_path / "without", run.config)
    assert without.config.data_checksum is None
    shutil.copy(run.path / "data.safetensors", without.path)
    with pytest.raises(RunError, match="has no checksum of data"):
        without.arrays()


def test_damaged_or_missing_data_is_named_as_such(run):
    path = run.path / "data.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"data.safetensors: is damaged"):
        run.arrays()
    path.unlink()
    with pytest.raises(RunError, match=r"data.safetensors: is missing"):
        run.arrays()


def test_weights_are_no_checkpoint(run):
    shutil.copy(run.path / "model.safetensors", run.path / "checkpoint.safetensors")
    with pytest.raises(RunError, match=r"checkpoint.safetensors: holds no training"):
        fit(LineTask(), Recipe(), Run.open(run.path, CountConfig), resume=True)


def test_damaged_weights_are_named(run):
    path = run.path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"model.safetensors: is damaged"):
        Run.open(run.path, CountConfig).weights()


def test_metrics_are_cut_to_the_checkpoint(run):
    for epoch in (1, 2, 3):
        run.append_metrics({**ROW, "epoch": epoch})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"epo')
    (run.path / ".elman-0123.tmp").write_text("left by a kill")
    assert [row["epoch"] for row in run.metrics()] == [1, 2, 3]
    assert run.rewind(2) == [{**ROW, "epoch": 1}, {**ROW, "epoch": 2}] == run.metrics()
    assert not (run.path / ".elman-0123.tmp").exists()
    with pytest.raises(RunError, match=r"holds 2 epochs and checkpoint.safetensors 3"):
        run.rewind(3)
    (run.path / "metrics.jsonl").write_text("what?\n")
    with pytest.raises(RunError, match=r"metrics.jsonl: is damaged"):
        run.metrics()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("5", "line 2: want an object, got 5"),
        ("null", "line 2: want an object, got null"),
        (
            json.dumps({("loss" if k == "train_loss" else k): v for k, v in ROW.items()}),
            "line 2: train_loss: is missing",
        ),
        (json.dumps({**ROW, "epoch": 2, "lr": "0.1"}), "line 2: lr: got '0.1', want a valid number"),
        (json.dumps({**ROW, "epoch": 2, "seconds": float("nan")}), "line 2: seconds: got nan, want a finite number"),
        (
            json.dumps({**ROW, "epoch": 2, "validation_loss": "x"}),
            "line 2: validation_loss: got 'x', want a valid number",
        ),
        (json.dumps({**ROW, "epoch": 3}), "line 2: is of epoch 3"),
        ("[" * 100_000, "line 2: "),
    ],
)
def test_metrics_of_another_shape_are_damaged(run, line, words):
    (run.path / "metrics.jsonl").write_text(json.dumps(ROW) + "\n" + line + "\n")
    for read in (run.metrics, lambda: run.rewind(1)):
        with pytest.raises(RunError) as caught:
            read()
        assert f"metrics.jsonl: is damaged: {words}" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_metrics_without_validation_are_whole(run):
    run.append_metrics({**ROW, "validation_loss": None})
    assert run.metrics() == [{**ROW, "validation_loss": None}]


def test_the_log_is_dated(run):
    run.log("begun")
    assert (run.path / "log.txt").read_text()[4::3].startswith("-")
    assert (run.path / "log.txt").read_text().endswith(" begun\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1}, "`lr`: got -1, want greater than 0"),
        ({"lr": float("nan")}, "`lr`: got nan, want a finite number"),
        ({"epochs": 0}, "`epochs`: got 0, want greater than or equal to 1"),
        ({"weight_decay": "x"}, "`weight_decay`: got 'x', want a valid number"),
        ({"device": "gpu"}, "`device`: got 'gpu', want a device such as cpu, cuda or cuda:1"),
        ({"epoch": 3}, "`epoch`: is not known; did you mean 'epochs'?"),
    ],
)
def test_options_are_worded(options, message):
    with pytest.raises(ElmanError) as caught:
        checked(Recipe, options)
    assert str(caught.value).startswith(message)


def test_an_option_of_several_values_is_named_by_its_name():
    class Splitting(BaseModel):
        model_config = ConfigDict(allow_inf_nan=False)
        split: tuple[float, float]
        sizes: dict[str, int] = {}

    with pytest.raises(ElmanError, match=r"^`split`: got nan, want a finite number$"):
        checked(Splitting, {"split": (float("nan"), 1)})
    with pytest.raises(ElmanError, match=r"^`proj_size`: got 'x', want a valid integer$"):
        checked(Splitting, {"split": (0, 1), "sizes": {"proj_size": "x"}})


def test_a_recipe_has_at_most_nine_fields():
    assert len(Recipe.model_fields) - len(Computation.model_fields) - len(Saving.model_fields) <= 9


def test_a_device_that_is_not_here_is_an_error_only_when_used():
    recipe = Recipe(device=f"cuda:{torch.cuda.device_count()}")
    with pytest.raises(ElmanError, match=r"`device`: got 'cuda:.*use cpu"):
        recipe.torch_device()


def test_data_that_does_not_fit_into_memory_is_written_by_its_task(tmp_path):
    run = Run.create(tmp_path / "r", RunConfig(task="toy"), write=lambda path: path.write_bytes(b"ids"))
    assert run.config.data_checksum == hashlib.sha256(b"ids").hexdigest()
    assert run.large().read_bytes() == b"ids"
    run.large().write_bytes(b"idz")
    with pytest.raises(RunError, match=r"data\.bin: is not the data of this run"):
        run.large()
    (run.path / "data.bin").unlink()
    with pytest.raises(RunError, match=r"data\.bin: is missing"):
        run.large()

    def failing(path):
        path.write_bytes(b"half")
        raise ElmanError("the text is damaged")

    with pytest.raises(ElmanError, match="the text is damaged"):
        Run.create(tmp_path / "s", RunConfig(task="toy"), write=failing)
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


# One writer

HOLD = """import sys, time
from pathlib import Path
from elman.training.lock import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)"""


@pytest.mark.full
def test_a_second_writer_is_told_who_writes_and_the_lock_dies_with_its_process(tmp_path):
    from elman.jobs import Forecaster

    forecaster = Forecaster("rnn", hidden=4, context=8, epochs=1)
    forecaster.fit("wave:sine", run=tmp_path / "r")
    before = {p: p.read_bytes() for p in (tmp_path / "r").iterdir() if p.name != "lock"}
    command = [sys.executable, "-c", HOLD, str(tmp_path / "r")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"is being trained by process {holder.pid} on .* since .*; wait"):
            Forecaster.resume(tmp_path / "r")
        assert Forecaster.load(tmp_path / "r").test()  # it can be used meanwhile
        holder.send_signal(signal.SIGKILL)
    assert {p: p.read_bytes() for p in (tmp_path / "r").iterdir() if p.name != "lock"} == before
    Forecaster.resume(tmp_path / "r")
