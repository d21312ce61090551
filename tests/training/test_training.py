"""The loop: what it computes, and that stopping and resuming changes no bit of it."""

from __future__ import annotations

import io
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

from elman.errors import ElmanError, RunError
from elman.training import Progress, Recipe, Run, RunConfig, checked, fit, saving
from elman.training.interrupts import Interrupts
from elman.training.optimizer import one_cycle
from training_tasks import LineTask, RecallTask

RECIPE = Recipe(epochs=5, lr=0.03, clip=0.5, weight_decay=0.01, seed=4)


class ToyConfig(RunConfig):
    task: str = "toy"
    recipe: Recipe = RECIPE


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never interrupted, and its task."""
    run = Run.create(tmp_path_factory.mktemp("whole") / "r", ToyConfig())
    task = RecallTask()
    fit(task, RECIPE, run)
    return run, task


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "r", ToyConfig())


def timeless(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def assert_same_bits(run, task, whole):
    other, other_task = whole
    for name in ("model.safetensors", "checkpoint.safetensors"):
        assert (run.path / name).read_bytes() == (other.path / name).read_bytes(), name
    assert timeless(run.metrics()) == timeless(other.metrics())
    for name, weight in other_task.model.state_dict().items():
        assert torch.equal(task.model.state_dict()[name], weight), name


def stop_at(step):
    def on_step(now):
        if now == step:
            raise KeyboardInterrupt

    return on_step


# --- what it computes


@pytest.mark.parametrize("total", [1, 2, 3, 4, 10, 37, 100])
def test_the_rate_is_torchs_one_cycle(total):
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=total)
    for step in range(total):
        group = optimizer.param_groups[0]
        assert one_cycle(step, total, 0.02) == pytest.approx((group["lr"], group["betas"][0]), rel=1e-12)
        optimizer.step()
        if step < total - 1:
            schedule.step()


def by_hand(task, recipe):
    """The same training, written out with torch's own schedule."""
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(
        task.model.parameters(), recipe.lr, betas=(0.95, 0.99), weight_decay=recipe.weight_decay
    )
    total = recipe.epochs * task.batch_count()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=total)
    losses = []
    for _ in range(recipe.epochs):
        for batch in task.batches(generator):
            optimizer.zero_grad()
            loss, _ = task.loss(batch, None)
            loss.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(task.model.parameters(), recipe.clip)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    return torch.tensor(losses).reshape(recipe.epochs, -1).mean(1).tolist()


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_it_is_the_plain_loop(clip):
    recipe = Recipe(epochs=4, lr=0.1, clip=clip, weight_decay=0.1, seed=2)
    history = fit(LineTask(), recipe)
    assert [row["train_loss"] for row in history.rows] == pytest.approx(by_hand(LineTask(), recipe), rel=1e-5)


def test_it_learns_and_keeps_the_best():
    task = LineTask(validation=True)
    history = fit(task, Recipe(epochs=30, lr=0.3))
    losses = [row["validation_loss"] for row in history.rows]
    assert history.best_loss == min(losses) < 0.02
    assert history.best_epoch == losses.index(min(losses)) + 1
    assert task.validate() == history.best_loss
    assert not task.model.training


def test_without_validation_the_training_loss_is_watched():
    history = fit(LineTask(), Recipe(epochs=5))
    assert history.best_loss == min(row["train_loss"] for row in history.rows)
    assert all(row["validation_loss"] is None for row in history.rows)


class Scripted(LineTask):
    """A task whose validation losses are given, and whose model counts the epochs it was trained."""

    def __init__(self, losses):
        super().__init__()
        self.losses = iter(losses)
        self.model.register_buffer("epochs", torch.tensor(0))

    def validate(self):
        self.model.epochs += 1
        return next(self.losses)


def test_the_best_weights_are_those_of_the_first_lowest_loss(run):
    task = Scripted([3.0, 1.0, 1.0, 2.0, 5.0])
    history = fit(task, RECIPE, run)
    assert (history.best_epoch, history.best_loss) == (2, 1.0)
    assert task.model.epochs == run.weights()["epochs"] == 2


@pytest.mark.parametrize(("patience", "epochs"), [(0, 5), (1, 3), (2, 5), (9, 5)])
def test_patience(patience, epochs):
    task = Scripted([3.0, 1.0, 2.0, 0.5, 5.0])
    history = fit(task, Recipe(epochs=5, patience=patience))
    assert history.epochs == epochs


def test_modes_and_gradients():
    seen = []

    class Watched(RecallTask):
        def loss(self, batch, state):
            seen.append((self.model.training, torch.is_grad_enabled()))
            return super().loss(batch, state)

        def validate(self):
            seen.append((self.model.training, torch.is_grad_enabled()))
            return super().validate()

    fit(Watched(), Recipe(epochs=2))
    assert seen == ([(True, True)] * 3 + [(False, False)]) * 2


def test_gradient_norms_are_logged_before_clipping():
    free = fit(LineTask(), Recipe(epochs=1, clip=0)).rows[0]
    bound = fit(LineTask(), Recipe(epochs=1, clip=1e-3)).rows[0]
    assert free["clipped"] == 0
    assert bound["clipped"] == 1
    # The Adam step hardly depends on the gradient's size, so the norms stay close.
    assert bound["grad_norm"] == pytest.approx(free["grad_norm"], rel=0.1)


def test_the_users_random_numbers_are_untouched_and_do_not_matter():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fit(RecallTask(), Recipe(epochs=2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert timeless(fit(RecallTask(), Recipe(epochs=2)).rows) == timeless(first.rows)
    assert timeless(fit(RecallTask(), Recipe(epochs=2, seed=1)).rows) != timeless(first.rows)


def test_frozen_and_unused_parameters_are_left_alone(run):
    task = RecallTask()
    task.model.head.weight.requires_grad_(False)
    task.model.unused = nn.Linear(2, 2)
    before = task.model.head.weight.clone()
    fit(task, RECIPE, run)
    assert torch.equal(task.model.head.weight, before)


# --- what goes wrong


class Exploding(RecallTask):
    def loss(self, batch, state):
        loss, state = super().loss(batch, state)
        return loss * (math.nan if self.steps == 8 else 1), state


def test_a_loss_that_is_not_finite_stops_by_name_and_keeps_the_best(run):
    task = Exploding()
    with pytest.raises(ElmanError, match=r"loss at epoch 3, step 2 of 3 is nan.*lower `lr` .*epoch \d.* kept"):
        fit(task, RECIPE, run)
    assert len(run.metrics()) == 2
    for name, weight in run.weights().items():
        assert torch.equal(weight, task.model.state_dict()[name])
        assert weight.isfinite().all()


def test_a_gradient_that_is_not_finite_stops_before_the_step():
    class Steep(LineTask):
        def loss(self, batch, state):
            return torch.sqrt(0 * self.model(self.x[batch]).sum()), None

    task = Steep()
    before = task.model.weight.clone()
    with pytest.raises(ElmanError, match="the norm of the gradient at epoch 1, step 1 of 4 is nan"):
        fit(task, RECIPE)
    assert torch.equal(task.model.weight, before)


def test_a_state_is_carried_through_an_epoch_and_a_fault_is_traced_from_the_state_before_it():
    class Counting(LineTask):
        seen: ClassVar[list] = []

        def loss(self, batch, state):
            self.seen.append(state)
            loss, _ = super().loss(batch, None)
            # At the third step of the second epoch the gradient is no number, and the loss is.
            return loss + (torch.sqrt(0 * self.model.weight.sum()) if len(self.seen) >= 7 else 0), (state or 0) + 1

    with pytest.raises(ElmanError, match="the norm of the gradient at epoch 2, step 3 of 4 is nan"):
        fit(task := Counting(), RECIPE)
    assert task.seen == [None, 1, 2, 3, None, 1, 2, 2, 2]


def test_a_validation_loss_that_is_not_finite_stops():
    with pytest.raises(ElmanError, match="the validation loss of epoch 2 is inf"):
        fit(Scripted([1.0, math.inf]), RECIPE)


def test_no_batch_is_said():
    task = LineTask()
    task.batch_count = lambda: 0
    with pytest.raises(ElmanError, match="holds no batch"):
        fit(task, RECIPE)


@pytest.mark.parametrize("count", [3, 5])
def test_a_task_that_miscounts_its_batches_is_a_fault(count):
    task = LineTask()
    task.batch_count = lambda: count
    with pytest.raises(ValueError, match="zip"):
        fit(task, RECIPE)


# --- stopping and going on


@pytest.mark.parametrize("step", [1, 3, 4, 8, 15])
def test_interrupted_and_resumed_is_the_same_bits(run, whole, step):
    task = RecallTask(stop_at(step))
    history = fit(task, RECIPE, run)
    assert history.interrupted
    assert history.epochs == (step - 1) // 3 == len(run.metrics())
    if history.epochs:
        for name, weight in run.weights().items():
            assert torch.equal(weight, task.model.state_dict()[name])
    else:
        assert not (run.path / "model.safetensors").exists()
        assert torch.equal(task.model.head.weight, RecallTask().model.head.weight)
    torch.rand(5)
    again = RecallTask()
    reopened = Run.open(run.path, ToyConfig, trained=False)
    resumed = fit(again, RECIPE, reopened, resume=True)
    assert not resumed.interrupted
    assert timeless(resumed.rows) == timeless(whole[0].metrics())
    assert_same_bits(run, again, whole)


def test_resuming_after_every_epoch_is_the_same_bits(run, whole):
    for step in (2, 5, 5, 4, 6, None):
        task = RecallTask(stop_at(step))
        fit(task, RECIPE, run, resume=True)
    assert_same_bits(run, task, whole)


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("spoiled", ["append_metrics", "save_weights", "save_checkpoint"])
def test_killed_between_the_writes_of_an_epoch(run, whole, monkeypatch, spoiled, epoch):
    """One of an epoch's files is not written, as if the power failed before it; those before it are."""
    write, calls = getattr(Run, spoiled), []

    def failing(self, *arguments):
        calls.append(1)
        if len(calls) == epoch:
            raise MemoryError
        write(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Run, spoiled, failing)
        with pytest.raises(MemoryError):
            fit(RecallTask(), RECIPE, run)
    task = RecallTask()
    fit(task, RECIPE, run, resume=True)
    assert_same_bits(run, task, whole)


def test_resume_writes_again_the_weights_that_are_gone(run, whole):
    fit(RecallTask(), RECIPE, run)
    (run.path / "model.safetensors").unlink()
    lines = []
    report = Progress(stream=io.StringIO())
    report.say = lines.append
    task = RecallTask()
    history = fit(task, RECIPE, Run.open(run.path, ToyConfig, trained=False), resume=True, report=report)
    assert lines == ["nothing to resume: training finished after epoch 5"]
    assert history.epochs == 5
    assert task.steps == 0
    assert_same_bits(run, task, whole)


def test_a_run_that_stopped_early_is_finished(run):
    recipe = Recipe(epochs=5, patience=1)
    fit(Scripted([1.0, 2.0]), recipe, run)
    assert fit(Scripted([]), recipe, run, resume=True).epochs == 2


def test_a_run_is_not_trained_twice_by_mistake(run):
    fit(LineTask(), RECIPE, run)
    with pytest.raises(RunError, match="was trained already; go on with `resume`"):
        fit(LineTask(), RECIPE, run)


def test_resume_cannot_change_the_terms(run, tmp_path):
    fit(RecallTask(stop_at(5)), RECIPE, run)
    with pytest.raises(RunError, match=r"cannot change lr: was 0.03, got 0.1; seed: was 4, got 0"):
        fit(RecallTask(), RECIPE.model_copy(update={"lr": 0.1, "seed": 0}), run, resume=True)
    with pytest.raises(RunError, match="steps an epoch: was 3, got 4"):
        fit(LineTask(), RECIPE, run, resume=True)
    task = RecallTask()
    task.model.head = nn.Linear(8, 2)
    with pytest.raises(RunError, match=r"checkpoint.safetensors does not fit the model"):
        fit(task, RECIPE, run, resume=True)
    path = run.path / "config.json"
    path.write_text(path.read_text().replace("0.03", "0.02"))
    with pytest.raises(RunError, match=r"config.json: was changed"):
        fit(RecallTask(), RECIPE, Run.open(run.path, ToyConfig), resume=True)


def test_resume_does_not_start_over_for_a_lost_checkpoint(run):
    fit(LineTask(), RECIPE, run)
    (run.path / "checkpoint.safetensors").unlink()
    with pytest.raises(RunError, match=r"checkpoint.safetensors: is missing"):
        fit(LineTask(), RECIPE, run, resume=True)
    assert len(run.metrics()) == 5


def test_resume_needs_a_run():
    with pytest.raises(RunError, match="no run to resume"):
        fit(LineTask(), RECIPE, resume=True)


# --- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_last_whole_epoch(run, number):
    # A test's worker process may ignore Ctrl-C; a person's does not.
    was = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    before = signal.getsignal(number)
    task = RecallTask(lambda step: os.kill(os.getpid(), number) if step == 5 else None)
    history = fit(task, RECIPE, run)
    assert history.interrupted
    assert history.epochs == 1
    assert signal.getsignal(number) is before
    signal.signal(number, was)


def test_a_signal_does_not_cut_a_save(run, whole, monkeypatch):
    save, saved = Run.save_checkpoint, []

    def signalled(self, *arguments):
        if not saved:
            os.kill(os.getpid(), signal.SIGTERM)
        save(self, *arguments)
        saved.append(1)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save_checkpoint", signalled)
        history = fit(RecallTask(), RECIPE, run)
    assert history.interrupted
    # The save is in another thread: where that is slow, the next epoch ends before the signal is sent.
    assert history.epochs == len(run.metrics()) == len(saved)
    assert history.epochs <= 2
    task = RecallTask()
    fit(task, RECIPE, run, resume=True)
    assert_same_bits(run, task, whole)


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with Interrupts():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_it_trains_outside_the_main_thread():
    histories = []
    thread = threading.Thread(target=lambda: histories.append(fit(LineTask(), Recipe(epochs=2))))
    thread.start()
    thread.join()
    assert histories[0].epochs == 2


KILLED = """
import os, signal, sys
sys.path[:0] = {tests!r}
from test_training import RECIPE, ToyConfig, RecallTask, Run, fit
die = lambda step: os.kill(os.getpid(), signal.SIGKILL) if step == 11 else None
fit(RecallTask(die), RECIPE, Run.create({path!r}, ToyConfig()))
"""


@pytest.mark.full
def test_killed_without_warning_and_resumed_is_the_same_bits(tmp_path, whole):
    path = str(tmp_path / "killed")
    script = KILLED.format(tests=[str(Path(__file__).parents[k]) for k in (0, 1)], path=path)
    # The same number of threads, so that sums are taken in the same order.
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, **threads}, check=False)
    assert done.returncode == -signal.SIGKILL
    run = Run.open(path, ToyConfig)
    assert len(run.metrics()) in (2, 3)  # the last may not have been written yet
    task = RecallTask()
    fit(task, RECIPE, run, resume=True)
    assert_same_bits(run, task, whole)


# --- checkpoints


class StatefulTask(RecallTask):
    """Two streams, whose state is carried from batch to batch."""

    def batches(self, generator):
        order = torch.randperm(48, generator=generator)
        return [order[k::3] for k in range(3)]

    def loss(self, batch, state):
        if self.on_step is not None:
            self.steps += 1
            self.on_step(self.steps)
        state = None if state is None else tuple(state)
        output, after = self.model.lstm(self.x[batch], state)
        return mse_loss(self.model.head(output[:, -1]), self.y[batch]), tuple(part.detach() for part in after)


@pytest.mark.parametrize("task_type", [RecallTask, StatefulTask])
@pytest.mark.parametrize("every", ["step", "2 steps", "4 steps", "2 epochs", "1 s"])
@pytest.mark.parametrize("step", [3, 8, 14])
def test_wherever_it_was_saved_it_goes_on_to_the_same_bits(tmp_path, clock_of_checkpoints, every, step, task_type):
    recipe = RECIPE.model_copy(update={"checkpoint": every, "keep": 3})
    runs = [Run.create(tmp_path / name, ToyConfig(recipe=recipe)) for name in ("whole", "cut")]
    whole = task_type(lambda now: None)
    fit(whole, recipe, runs[0])
    fit(task_type(stop_at(step)), recipe, runs[1])
    seen = []
    again = task_type(seen.append)
    fit(again, recipe, runs[1], resume=True)
    unit = {"step": 1, "2 steps": 2, "4 steps": 4, "2 epochs": 6, "1 s": 1}[every]
    assert len(seen) == 15 - (step - 1) // unit * unit
    assert timeless(runs[0].metrics()) == timeless(runs[1].metrics())
    assert (runs[0].path / "model.safetensors").read_bytes() == (runs[1].path / "model.safetensors").read_bytes()
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], weight), name


@pytest.fixture
def clock_of_checkpoints(monkeypatch):
    """A clock that goes on by a second each time a checkpoint may be due."""
    times = iter(range(10**6))
    monkeypatch.setattr(saving.time, "monotonic", lambda: next(times))


def test_the_last_checkpoints_are_kept_and_a_damaged_one_is_passed_over(run, whole):
    recipe = RECIPE.model_copy(update={"keep": 2})
    fit(RecallTask(), recipe, run)
    names = ["checkpoint-000000012.safetensors", "checkpoint-000000015.safetensors", "checkpoint.safetensors"]
    assert sorted(path.name for path in run.path.glob("checkpoint*")) == names
    for name in names[1:]:
        (run.path / name).unlink()
        (run.path / name).write_bytes(b"damaged")
    task = RecallTask()
    fit(task, recipe, run, resume=True)
    assert "going on from checkpoint-000000012.safetensors" in (run.path / "log.txt").read_text()
    assert (run.path / "model.safetensors").read_bytes() == (whole[0].path / "model.safetensors").read_bytes()
    assert task.steps == 3
    for path in run.path.glob("checkpoint*"):
        path.write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"checkpoint\.safetensors"):
        fit(RecallTask(), recipe, run, resume=True)


def test_a_checkpoint_is_written_while_training_goes_on(run, monkeypatch):
    """The next step does not wait for the disk; what fails there ends the training."""
    gate, save, steps = threading.Event(), Run.save_checkpoint, []

    def slow(self, *arguments):
        assert gate.wait(20)
        save(self, *arguments)

    def on_step(step):
        steps.append(step)
        if step == 5:  # the second epoch, while the first is being written
            assert not (run.path / "checkpoint.safetensors").exists()
            gate.set()

    monkeypatch.setattr(Run, "save_checkpoint", slow)
    fit(RecallTask(on_step), RECIPE, run)
    assert len(steps) == 15
    assert (run.path / "checkpoint.safetensors").exists()


def test_a_checkpoint_that_cannot_be_written_ends_the_training(run, monkeypatch):
    def full(self, *arguments):
        raise RunError("checkpoint.safetensors: No space left on device")

    monkeypatch.setattr(Run, "save_checkpoint", full)
    task = RecallTask()
    with pytest.raises(RunError, match="No space left"):
        fit(task, RECIPE, run)
    assert task.steps == 6
    assert "finished" not in (run.path / "log.txt").read_text()


@pytest.mark.parametrize("text", ["", "5", "0 steps", "5 weeks", "-1 step", "1.5 h"])
def test_how_often_is_checked(text):
    with pytest.raises(ElmanError, match="5 epochs, 500 steps or 10 min"):
        checked(Recipe, {"checkpoint": text})


def test_a_run_can_be_moved(tmp_path, whole):
    moved = shutil.copytree(whole[0].path, tmp_path / "moved")
    here, there = Run.open(moved, ToyConfig).weights(), whole[0].weights()
    assert all(torch.equal(here[name], there[name]) for name in there)


# --- what is said


def row(epoch):
    return {"epoch": epoch, "train_loss": 0.25, "validation_loss": 0.5, "lr": 0.01}


def said(progress_epochs, until):
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        progress.start(progress_epochs, 0)
        for epoch in range(1, until + 1):
            progress.epoch(row(epoch))
    return stream.getvalue().splitlines()


def test_plain_lines_are_few_and_end_with_the_last():
    lines = said(100, 100)
    assert len(lines) == 11
    assert lines[0] == "epoch 1/100  train 0.25  validation 0.5  lr 0.01"
    assert lines[-1].startswith("epoch 100/100 ")
    assert said(100, 37)[-1].startswith("epoch 37/100 ")


def test_a_long_silence_is_broken():
    stream = io.StringIO()
    progress = Progress(stream=stream, seconds=0)
    progress.start(1000, 0)
    for epoch in (1, 2, 3):
        progress.epoch(row(epoch))
    assert len(stream.getvalue().splitlines()) == 3


def test_silence_is_silence(capsys):
    with Progress(silent=True) as progress:
        progress.start(2, 0)
        progress.epoch(row(1))
        progress.say("nothing")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    with Progress(stream=stream) as progress:
        progress.start(2, 0)
        progress.epoch(row(1))
        progress.say("[red]as it stands")
        progress.epoch(row(2))
    assert "2/2" in stream.getvalue()
    assert "validation 0.5" in stream.getvalue()
    assert "[red]as it stands" in stream.getvalue()


def test_lines_go_to_standard_error(capsys):
    fit(LineTask(), Recipe(epochs=1), report=Progress())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("epoch 1/1  train ")


def test_rich_is_imported_only_for_a_bar():
    code = "import sys, elman.training; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- time


class Clock:
    """A clock that goes on by ``tick`` seconds a step of :class:`TimedTask`."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now

    def monotonic(self):
        return self.now


class TimedTask(RecallTask):
    def __init__(self, clock, tick=1.0, on_step=None):
        def step(now):
            clock.now += tick
            if on_step is not None:
                on_step(now)

        super().__init__(step)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in ("loop", "standing"):
        monkeypatch.setattr(f"elman.training.{module}.time", clock)
    return clock


def test_time_ends_training_where_it_is_and_anneals_the_rate(clock, run):
    task = TimedTask(clock)
    history = fit(task, Recipe(max_time=10, lr=0.03), run)
    assert task.steps == 10  # three epochs of 3 steps, and one step of the fourth
    assert [row["seconds"] for row in history.rows] == [3, 3, 3, 1]
    rates = [row["lr"] for row in history.rows]
    whole = 10**6 * 3
    want = [one_cycle(seconds / 10 * (whole - 1), whole, 0.03)[0] for seconds in (3, 6, 9, 10)]
    assert rates == pytest.approx(want)  # what had passed when the last step of each epoch was taken
    assert rates[-1] < 0.1 * max(rates)
    assert not history.interrupted
    assert "finished after epoch 4" in (run.path / "log.txt").read_text()


def test_epochs_end_a_training_that_has_time_left(clock):
    task, timed = RecallTask(), TimedTask(clock, tick=0.001)
    assert timeless(fit(timed, RECIPE.model_copy(update={"max_time": 1e6})).rows) == timeless(fit(task, RECIPE).rows)


def test_resuming_goes_on_with_the_time_that_is_left(clock, run):
    recipe = Recipe(max_time=10, lr=0.03)
    assert fit(TimedTask(clock, on_step=stop_at(8)), recipe, run).interrupted
    clock.now += 1000
    task = TimedTask(clock)
    history = fit(task, recipe, run, resume=True)
    assert task.steps == 4  # 6 seconds were spent; those of the epoch that was dropped are not counted
    assert sum(row["seconds"] for row in history.rows) == 10
    again = TimedTask(clock)
    assert fit(again, recipe, run, resume=True).epochs == history.epochs
    assert again.steps == 0


def test_time_without_epochs_is_as_many_as_fit():
    assert Recipe(max_time=5).epochs == 1_000_000
    assert Recipe(max_time=5, epochs=3).epochs == 3
    assert Recipe(max_time=0).epochs == Recipe().epochs == 100


def test_progress_tells_the_time():
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        progress.start(1_000_000, 0, max_time=60, spent=20)
        progress.epoch({"epoch": 1, "train_loss": 0.5, "validation_loss": None, "lr": 0.01, "seconds": 15.2})
    assert stream.getvalue() == "epoch 1  train 0.5  lr 0.01  35 of 60 s\n"
