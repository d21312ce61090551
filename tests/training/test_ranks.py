"""Several processes train one network as one process would; a rank that is lost ends all, and the run goes on."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ranked
from elman.choices.recipe import Recipe
from elman.cli import run as command
from elman.errors import ElmanError
from elman.jobs import Forecaster
from elman.ranks import ALONE, ranks
from elman.training import fit

HERE = Path(__file__).parents[1]
ELMAN = [sys.executable, "-m", "elman"]
TRAIN = ["train", "forecast", "wave:combined", "--hidden", "6", "--context", "20", "--epochs", "12", "--seed", "3"]


def torchrun(count: int, *arguments: str | Path, restarts: int = 0, **options) -> subprocess.Popen:
    """Start ``count`` ranks of a Python program."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command += [f"--max-restarts={restarts}", *map(str, arguments)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def finished(process: subprocess.Popen, seconds: float = 240) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process makes of every task in a dtype."""

    @functools.cache
    def trained(dtype):
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            return ranked.main(tmp_path_factory.mktemp(dtype))
        finally:
            torch.set_default_dtype(before)

    return trained


@pytest.mark.full
@pytest.mark.parametrize(("count", "dtype"), [(3, "float64"), pytest.param(2, "float32", marks=pytest.mark.slow)])
def test_several_ranks_train_as_one(alone, tmp_path, count, dtype):
    code, _, err = finished(torchrun(count, HERE / "ranked.py", tmp_path, dtype))
    assert code == 0, err
    # In float32 the norm of the gradient is the least certain: it says what is left where the line is nearly exact.
    bounds = {"float64": (1e-12, 1e-11, 1e-10), "float32": (2e-6, 5e-4, 2e-4)}[dtype]
    by_rank = [json.loads((tmp_path / f"{r}" / "results.json").read_text()) for r in range(count)]
    for name, want in alone(dtype).items():
        for key, bound in zip(("weights", "curve", "test"), bounds, strict=True):
            for results in by_rank:
                np.testing.assert_allclose(
                    np.array(results[name][key], float), np.array(want[key], float), rtol=bound, atol=bound,
                    err_msg=f"{name} {key}",
                )  # fmt: skip
        assert by_rank[0][name]["weights"] == by_rank[-1][name]["weights"], name


@pytest.mark.full
@pytest.mark.parametrize("name", [*ranked.JOBS])
def test_a_batch_in_parts_is_the_batch(alone, tmp_path, name):
    torch.set_default_dtype(torch.float64)
    try:
        job, data, reading = ranked.JOBS[name](tmp_path)
        job.recipe = job.recipe.model_copy(update={"accumulate": 4})
        job.fit(data, **reading)
        weights = torch.cat([p.detach().flatten() for p in job.task.model.parameters()])
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_allclose(weights, alone("float64")[name]["weights"], rtol=1e-12, atol=1e-12)


def test_parts_of_a_batch_add_up_to_it():
    weights = {}
    for count in (1, 3):  # the batches have two rows, or one: some parts have none
        torch.set_default_dtype(torch.float64)
        task = ranked.Halves()
        torch.set_default_dtype(torch.float32)
        before = task.model["unread"].clone()
        fit(task, Recipe(epochs=5, weight_decay=0.1, accumulate=count))
        assert torch.equal(task.model["unread"], before)  # not even decayed: it has no gradient
        weights[count] = torch.cat([p.detach() for p in task.model.values()])
    np.testing.assert_allclose(weights[3], weights[1], rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["streams", "text", "panel"])
def test_saved_within_an_epoch_it_goes_on_with_another_number_of_ranks(alone, tmp_path, name):
    """Carried states are taken apart anew. Two ranks, killed; then three, killed; then one."""
    run = tmp_path / "run"
    for count, step in ((2, 11), (3, 9)):
        code, _, _ = finished(torchrun(count, HERE / "ranked_cut.py", name, run, step))
        assert code != 0
    done = subprocess.run([sys.executable, HERE / "ranked_cut.py", name, run], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    want = alone("float64")[name]["weights"]
    np.testing.assert_allclose(json.loads(run.with_suffix(".json").read_text()), want, rtol=1e-11, atol=1e-11)


def test_what_cannot_be_taken_apart_is_said():
    class Whole(ranked.Halves):
        share = property()

    with pytest.raises(ElmanError, match="a Whole cannot be trained in parts: it has no method `share`"):
        fit(Whole(), Recipe(epochs=1, accumulate=2))


def test_computing_again_learns_the_same(tmp_path):
    curves = {}
    for name, how in {"plain": {}, "again": {"recompute": 5}}.items():
        job = Forecaster("lstm", hidden=16, context=30, epochs=6, network_alone=True, **how)
        job.fit(ranked.WAVE, run=tmp_path / name)
        assert job.run.config.recipe.recompute == how.get("recompute", 0)
        assert job.task.model.recurrent.stack.recompute == how.get("recompute", 0)
        curves[name] = [row["train_loss"] for row in job.run.metrics()]
    np.testing.assert_allclose(curves["again"], curves["plain"], rtol=1e-4)


def test_bfloat16_learns_nearly_the_same_or_is_refused():
    def trained(precision):
        job = Forecaster("lstm", hidden=16, context=30, epochs=6, network_alone=True, precision=precision)
        return [row["train_loss"] for row in job.fit(ranked.WAVE).rows]

    try:
        Recipe(precision="bf16").check_precision()
    except ElmanError:
        with pytest.raises(ElmanError, match="`precision`: torch computes no LSTM in bfloat16 on the cpu of this"):
            trained("bf16")
        return
    exact, rounded = trained("float32"), trained("bf16")
    np.testing.assert_allclose(rounded, exact, rtol=0.1)
    assert rounded != exact


def test_a_process_that_stands_alone_joins_nobody():
    assert ranks() is ALONE
    assert ALONE.first
    assert ALONE.agree(lambda: 3) == 3
    assert ALONE.share([1, 2, 3], str) == ["1", "2", "3"]
    assert ALONE.chunk(100, 7) == 7
    assert ALONE.leave() == ""
    assert not torch.distributed.is_initialized()


def rows_of(run: Path) -> list[tuple[int, float, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(row["epoch"], row["train_loss"], row["validation_loss"]) for row in rows]


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoint.safetensors")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The run of one process."""
    run = tmp_path_factory.mktemp("alone") / "run"
    subprocess.run([*ELMAN, *TRAIN, "-o", run], check=True, capture_output=True)
    return run


def check_equal(run: Path, other: Path, bound: float = 1e-3) -> None:
    np.testing.assert_allclose(rows_of(run), rows_of(other), rtol=bound)
    ours, theirs = weights_of(run), weights_of(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name.startswith("model."):
            torch.testing.assert_close(ours[name], theirs[name], rtol=bound, atol=bound)
    assert not list(run.parent.glob(f".{run.name}*"))
    assert not list(run.glob(".*"))


@pytest.mark.full
def test_the_command_line_speaks_once(undisturbed, tmp_path):
    run = tmp_path / "run"
    code, out, err = finished(torchrun(2, "-m", "elman", *TRAIN, "--json", "-o", run))
    assert code == 0, err
    assert json.loads(out)["epochs"] == 12
    assert err.count("epoch 12/12") == 1
    check_equal(run, undisturbed)
    assert (run / "log.txt").read_text().count("finished") == 1
    code, out, err = finished(torchrun(2, "-m", "elman", "test", run, "--json"))
    assert code == 0, err
    want = subprocess.run([*ELMAN, "test", run, "--json"], check=True, capture_output=True, text=True).stdout
    assert json.loads(out)["test"]["mse"] == pytest.approx(json.loads(want)["test"]["mse"], rel=1e-5)
    code, out, err = finished(torchrun(2, "-m", "elman", *TRAIN, "-o", run))  # what is there already is refused once
    assert code != 0
    assert "holds a run already" in err
    assert "Traceback (most recent call last):\n  File" not in err.split("ChildFailedError")[0].split("elman:")[0]


def ranks_of(process: subprocess.Popen) -> list[int]:
    """The process numbers of the ranks that a torchrun has started, as far as there are any."""
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(process.pid)], capture_output=True, text=True)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "-m elman" in line]


def kill_at_random(
    run: Path, dice: random.Random, only_one: bool, command: list[str] | None = None
) -> tuple[str, list[int]]:
    process = torchrun(2, "-m", "elman", *(command or LONG), "-o", run, start_new_session=True)
    while process.poll() is None and not (run / "metrics.jsonl").exists():
        time.sleep(0.02)
    time.sleep(dice.uniform(0, 0.5))
    pids = ranks_of(process)
    for pid in dice.sample(pids, 1) if only_one and pids else pids:
        os.kill(pid, signal.SIGKILL)
    _, _, err = finished(process, 60)
    return err, pids


LONG = [*TRAIN, "--hidden", "24", "--epochs", "40"]


def check_killed(tmp_path, instants: int, seed: int) -> None:
    want = tmp_path / "want"
    assert finished(torchrun(2, "-m", "elman", *LONG, "-o", want))[0] == 0
    dice = random.Random(seed)
    for i in range(instants):
        run = tmp_path / f"{i}"
        _, pids = kill_at_random(run, dice, only_one=bool(i % 2))
        until = time.monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < until:
            time.sleep(0.05)
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "a rank outlived the others"
        code, _, err = finished(torchrun(2, "-m", "elman", "train", "forecast", "--resume", "-o", run))
        assert code == 0, err
        check_equal(run, want, 0)  # to the bit: the same ranks


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the ranks in /proc")
def test_a_run_goes_on_with_another_number_of_ranks(undisturbed, tmp_path):
    cut = tmp_path / "cut"
    kill_at_random(cut, random.Random(0), only_one=False, command=TRAIN)
    code, _, err = finished(torchrun(3, "-m", "elman", "train", "forecast", "--resume", "-o", cut))
    assert code == 0, err
    check_equal(cut, undisturbed)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the ranks in /proc")
def test_a_run_goes_on_wherever_its_ranks_were_killed(tmp_path):
    check_killed(tmp_path, 20, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_stopped_stops_the_others_and_none_hangs(tmp_path, rank):
    run = tmp_path / "run"
    process = torchrun(2, "-m", "elman", *TRAIN, "--epochs", "100000", "-o", run)
    while process.poll() is None and not (run / "metrics.jsonl").exists():
        time.sleep(0.02)
    os.kill(ranks_of(process)[rank], signal.SIGTERM)
    code, out, err = finished(process, 60)
    assert code != 0
    assert "interrupted" in out + err
    assert "was lost" not in err
    assert "interrupted after epoch" in (run / "log.txt").read_text()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the ranks in /proc")
def test_torchrun_starts_anew_what_was_lost(tmp_path):
    want, run = tmp_path / "want", tmp_path / "run"
    assert finished(torchrun(2, "-m", "elman", *LONG, "-o", want))[0] == 0
    process = torchrun(2, "-m", "elman", *LONG, "-o", run, restarts=1)
    while process.poll() is None and not (run / "metrics.jsonl").exists():
        time.sleep(0.02)
    os.kill(ranks_of(process)[1], signal.SIGKILL)
    code, _, err = finished(process)
    assert code == 0, err
    assert "going on after epoch" in (run / "log.txt").read_text()
    check_equal(run, want, 0)


def machines_can_be_made() -> bool:
    """Whether network namespaces can be made here, which are to each other as machines are."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    made = subprocess.run(["ip", "netns", "add", "elman-probe"], capture_output=True).returncode == 0
    subprocess.run(["ip", "netns", "del", "elman-probe"], capture_output=True)
    return made


@pytest.fixture
def machines():
    """Two namespaces with a cable between them, and what is typed to start rank 0 or 1 there."""
    if not machines_can_be_made():
        pytest.skip("no network namespaces can be made here")
    lines = [
        "netns add elman-a", "netns add elman-b", "link add ea type veth peer name eb",
        "link set ea netns elman-a", "link set eb netns elman-b",
        "-n elman-a addr add 10.77.0.1/24 dev ea", "-n elman-b addr add 10.77.0.2/24 dev eb",
        "-n elman-a link set ea up", "-n elman-b link set eb up", "-n elman-a link set lo up",
        "-n elman-b link set lo up",
    ]  # fmt: skip
    try:
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True, capture_output=True)

        def start(rank: int, *arguments: str | Path) -> subprocess.Popen:
            name = "ab"[rank]
            command = ["timeout", "-s", "KILL", "200", "ip", "netns", "exec", f"elman-{name}", sys.executable]
            command += ["-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={rank}", "--nproc-per-node=1"]
            command += ["--master-addr=10.77.0.1", "--master-port=29511", "-m", "elman", *map(str, arguments)]
            env = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": f"e{name}"}
            return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        yield start
    finally:
        for name in ("elman-a", "elman-b"):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.mark.slow
def test_two_machines_train_one_network_until_the_cable_is_cut(machines, undisturbed, tmp_path):
    run = tmp_path / "run"
    for process in [machines(rank, *TRAIN, "-o", run) for rank in range(2)]:
        code, _, err = finished(process)
        assert code == 0, err
    check_equal(run, undisturbed)
    cut = tmp_path / "cut"
    processes = [machines(rank, *TRAIN, "--epochs", "100000", "-o", cut) for rank in range(2)]
    while not (cut / "metrics.jsonl").exists() and processes[0].poll() is None:
        time.sleep(0.1)
    subprocess.run(["ip", "-n", "elman-b", "link", "set", "eb", "down"], check=True)
    begun = time.monotonic()
    ends = [finished(process, 90) for process in processes]
    assert time.monotonic() - begun < 60
    assert all(code != 0 for code, _, _ in ends)
    assert "rank 1 (process" in ends[0][2]
    assert "rank 0 (process" in ends[1][2]
    assert all("go on with --resume" in err for _, _, err in ends)
    assert len(rows_of(cut)) > 0


@pytest.mark.parametrize("arguments", [["explain", "run"], ["tune", "a.csv"], ["forecast", "run"]])
def test_torchrun_is_for_training_and_testing(monkeypatch, capsys, arguments):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert command(arguments) == 2
    assert capsys.readouterr().err == (
        "elman: rank 1: torchrun starts `elman train` and `elman test`; start anything else without it\n"
    )
    assert command(["train", "--help"]) == 0
