"""The command line: results, errors in one line, exit codes, and run folders whole or not at all."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elman.cli import run

QUICK = ["--cell", "rnn", "--hidden", "4", "--context", "8", "--epochs", "2"]


def write_series(path, rows, header="day,v"):
    Path(path).write_text("\n".join([header, *rows]) + "\n")


def days(count, skip=()):
    from datetime import date, timedelta

    return [f"{date(2024, 1, 1) + timedelta(d)},{d % 7}" for d in range(count) if d not in skip]


SHOPS = (("a", "city"), ("b", "village"), ("c", "city"))


def test_likelihood_paths_and_static_columns(elman):
    rows = [f"{shop},{1 + (i * 7 + k) % 5},{kind}" for k, (shop, kind) in enumerate(SHOPS) for i in range(40 + k)]
    Path("shops.csv").write_text("\n".join(["shop,sales,kind", *rows]) + "\n")
    told = ["--id", "shop", "--target", "sales", "--static", "kind", "--likelihood", "negative-binomial"]
    code, out, err = elman("train", "forecast", "shops.csv", *told, *QUICK, "--horizon", 2, "-o", "r")
    assert code == 0, err
    assert "static: kind" in out + err
    assert "the spread (negative-binomial)" in out + err
    assert elman("forecast", "r", "--paths", 30, "-o", "paths.csv")[0] == 0
    header, *lines = Path("paths.csv").read_text().splitlines()
    assert header == "id,path,step,value"
    assert len(lines) == 3 * 30 * 2
    assert all(float(line.rpartition(",")[2]) >= 0 for line in lines)
    code, _, err = elman("forecast", "r", "--paths", 3, "--levels", "80")
    assert code == 2
    assert "leave out --levels" in err
    code, _, err = elman("forecast", "r", "--paths", -3)
    assert code == 2
    assert "--paths: got -3" in err


@pytest.mark.full
def test_train_test_plot_forecast(elman):
    code, out, err = elman("train", "forecast", "wave:sine", *QUICK, "-o", "r", "--json")
    assert code == 0
    assert "epoch 2/2" in err
    assert json.loads(out)["epochs"] == 2
    code, out, _ = elman("test", "r", "--json")
    result = json.loads(out)
    assert result["task"] == "forecast"
    assert {"mse", "mae", "rmse"} <= result["test"].keys()
    assert result["baselines"]["persistence"]["mse"] > 0
    for kind, magic in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        code, out, _ = elman("plot", "r", "--format", kind)
        assert code == 0
        assert all(Path(line).read_bytes().startswith(magic) for line in out.splitlines())
    code, out, _ = elman("forecast", "r", "--steps", 5, "-o", "f.csv")
    lines = Path("f.csv").read_text().splitlines()
    assert lines[0] == "step,sine"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2", "3", "4", "5"]
    assert len(out.splitlines()) == 1


def test_json_is_one_object_and_stdout_holds_nothing_else(elman):
    commands = [
        ("train", "forecast", "wave:sine", *QUICK, "-o", "r"),
        ("test", "r"),
        ("plot", "r"),
        ("forecast", "r"),
        ("cells",),
        ("cells", "lstm"),
        ("inspect", "wave:sine"),
        ("demo", "-o", "r"),
        ("cells", "--nonsense"),
    ]
    for command in commands:
        _, out, _ = elman(*command, "--json")
        assert isinstance(json.loads(out), dict), command
        assert out.count("\n") == 1, command


def test_dates_go_on_where_the_series_ends(elman):
    write_series("m.csv", [f"{1990 + m // 12}-{m % 12 + 1:02d}-01,{m}" for m in range(60)])
    assert elman("train", "forecast", "m.csv", "--time", "day", *QUICK, "-o", "r")[0] == 0
    _, out, _ = elman("forecast", "r", "--steps", 3)
    assert [line.split(",")[0] for line in out.splitlines()] == ["date", "1995-01-01", "1995-02-01", "1995-03-01"]
    _, out, _ = elman("forecast", "r", "--steps", 2, "--json")
    assert json.loads(out)["dates"] == ["1995-01-01", "1995-02-01"]


def test_resample_drops_partial_periods_and_says_so(elman):
    write_series("m.csv", [f"{1990 + m // 12}-{m % 12 + 1:02d}-01,{m}" for m in range(3, 300)])
    code, out, err = elman(
        "train", "forecast", "m.csv", "--time", "day", "--resample", "1y", *QUICK, "-o", "r", "--json"
    )
    assert code == 0
    assert "dropped 1990" in err
    assert "dropped 1990" in json.loads(out)["notes"][0]
    assert json.loads(elman("forecast", "r", "--steps", 1, "--json")[1])["dates"] == ["2015-01-01"]


def test_cells(elman):
    listed = json.loads(elman("cells", "--json")[1])["cells"]
    assert {"rnn", "jordan", "lstm", "peephole", "gru", "gru_cho"} <= {c["name"] for c in listed}
    assert next(c for c in listed if c["name"] == "rnn")["aliases"] == ["elman"]
    lstm = next(c for c in listed if c["name"] == "lstm")
    assert lstm["states"] == ["h", "c"]
    assert lstm["parameters"] == 4 * 32 * (1 + 32 + 2)
    assert "Hochreiter" in lstm["source"]
    assert "c[t] = f[t] * c[t-1] + i[t] * g[t]" in elman("cells", "lstm")[1]
    assert r"c_{t} = f_{t} \odot c_{t-1} + i_{t} \odot g_{t}" in elman("cells", "lstm", "--latex")[1]


def test_inspect_shows_range_step_and_windows(elman):
    write_series("d.csv", days(30))
    _, out, _ = elman("inspect", "d.csv", "--time", "day", "--context", 3)
    assert "2024-01-01 to 2024-01-30, every 1d, no gap" in out
    assert "0 1 2 -> 3" in out


BAD_DATA = {
    "a missing column": (days(40), ["--target", "w"], "no column 'w'"),
    "text in a number column": ([*days(20), "2024-01-21,many", *days(40)[21:]], [], "row 22"),
    "nan": ([*days(20), "2024-01-21,nan", *days(40)[21:]], [], "row 22"),
    "infinity": ([*days(20), "2024-01-21,inf", *days(40)[21:]], [], "row 22"),
    "a gap in the dates": (days(40, skip=[20]), [], "between 2024-01-20 and 2024-01-22"),
    "a duplicate date": ([*days(20), "2024-01-20,99", *days(40)[20:]], [], "2024-01-20 twice"),
    "a series too short": (days(8), [], "shorter than context"),
    "an unknown cell": (days(40), ["--cell", "lstn"], "did you mean 'lstm'"),
    "a cell file that is not there": (days(40), ["--cell", "mine.py:x"], "mine.py: there is no such file"),
    "a device that is not there": (days(40), ["--device", "cuda:99"], "--device"),
    "a rate that is no rate": (days(40), ["--lr", "-1"], "--lr: got -1"),
    "a split that is no split": (days(40), ["--split", "80,30"], "--split"),
    "no such option": (days(40), ["--hiden", "3"], "--hiden"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_input_gives_one_line_and_leaves_no_run(elman, name):
    rows, options, message = BAD_DATA[name]
    write_series("d.csv", rows)
    code, out, err = elman("train", "forecast", "d.csv", "--time", "day", *QUICK, *options, "-o", "r")
    assert code == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert os.listdir() == ["d.csv"]


def test_an_output_that_exists_is_left_alone(elman):
    Path("r").mkdir()
    Path("r/mine.txt").write_text("keep")
    code, _, err = elman("train", "forecast", "wave:sine", *QUICK, "-o", "r")
    assert code == 2
    assert "r: is there already" in err
    assert os.listdir("r") == ["mine.txt"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "r"
    assert run(["train", "forecast", "wave:sine", *QUICK, "-o", str(folder), "--json"]) == 0
    return folder


def damage_truncate(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-7])


def damage_flip(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-5] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(data))


def damage_newer(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 99}))


def damage_config(folder):
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"context": 8', '"context": 9'))


def damage_missing(folder):
    (folder / "config.json").unlink()


DAMAGE = {
    damage_truncate: "model.safetensors",
    damage_flip: "model.safetensors",
    damage_newer: "newer Elman",
    damage_config: "was changed since",
    damage_missing: "is not a run",
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("command", ["test", "forecast", "plot"])
def test_a_damaged_run_is_refused_by_name(elman, trained, damage, command):
    shutil.copytree(trained, "r")
    damage(Path("r"))
    code, _, err = elman(command, "r")
    assert code == 2
    assert err.startswith("elman: r")
    assert DAMAGE[damage] in err
    assert err.count("\n") == 1


MY_CELL = """
import elman
from elman.equations import sigmoid, tanh

@elman.cell
def mine(x, h, p, *, slope=1.0):
    z = sigmoid(slope * p.z(x, h))
    return z * h + (1 - z) * tanh(p.n(x))
"""


def test_a_cell_of_ones_own_and_then_without_its_file(elman):
    Path("my_cells.py").write_text(MY_CELL)
    arguments = [*QUICK, "--cell", "my_cells.py:mine", "--set", "slope=2", "-o", "r"]
    assert elman("train", "forecast", "wave:sine", *arguments)[0] == 0
    assert "z[t] = sigmoid(" in elman("cells", "my_cells.py:mine")[1]
    Path("my_cells.py").write_text("raise RuntimeError('imported')")
    assert elman("test", "r")[0] == 0
    assert elman("forecast", "r")[0] == 0
    code, _, err = elman("train", "forecast", "wave:sine", *QUICK, "--cell", "my_cells.py:mine", "-o", "s")
    assert code == 2
    assert "my_cells.py does not run" in err
    Path("my_cells.py").write_text(MY_CELL)
    code, _, err = elman("train", "forecast", "wave:sine", *QUICK, "--cell", "my_cells.py:miner", "-o", "s")
    assert code == 2
    assert "did you mean 'mine'" in err


def test_an_equation_that_cannot_be_traced_names_its_line(elman):
    Path("bad.py").write_text(
        "import elman\n@elman.cell\ndef bad(x, h, p):\n    if h > 0:\n        return h\n    return p.h(x, h)\n"
    )
    code, _, err = elman("train", "forecast", "wave:sine", *QUICK, "--cell", "bad.py:bad", "-o", "r")
    assert code == 2
    assert "bad.py:4" in err
    assert "where(" in err
    assert not Path("r").exists()


def command(*arguments):
    return [sys.executable, "-m", "elman", *map(str, arguments)]


@pytest.mark.full
def test_an_interrupted_training_resumes_to_the_same_bits(tmp_path):
    arguments = [
        "wave:sine",
        "--cell",
        "gru",
        "--hidden",
        5,
        "--context",
        8,
        "--epochs",
        12,
        "--batch",
        16,
        "--dropout",
        0.2,
    ]
    arguments += ["--layers", 2, "--seed", 3]
    whole = subprocess.run(
        command("train", "forecast", *arguments, "-o", "whole"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert whole.returncode == 0, whole.stderr
    cut = subprocess.Popen(command("train", "forecast", *arguments, "-o", "cut"), cwd=tmp_path, stderr=subprocess.PIPE)
    metrics = tmp_path / "cut" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 3):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    cut.send_signal(signal.SIGINT)
    cut.communicate(timeout=60)
    assert cut.returncode == 130
    assert metrics.read_bytes().count(b"\n") < 12
    tested = subprocess.run(command("test", "cut", "--json"), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    resumed = subprocess.run(
        command("train", "forecast", "--resume", "-o", "cut"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    for name in ("model.safetensors", "checkpoint.safetensors", "data.safetensors", "config.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_our_own_fault_is_exit_1_and_says_so(elman, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("elman.data.series.sources.survey_series", broken)
    code, out, err = elman("inspect", "wave:sine")
    assert code == 1
    assert out == ""
    assert "a fault of Elman's, not yours" in err


def test_help_and_version(elman):
    assert "train" in elman("--help")[1]
    assert elman("--version")[1].startswith("elman ")
    assert elman()[0] == 0
    for name in ("test", "plot", "forecast", "demo", "cells", "inspect"):
        assert "--json" in elman(name, "--help")[1]


COMBINED = ["wave:combined", "--hidden", 32, "--context", 50, "--split", "80,0,20", "--batch", 32, "--epochs", 100]


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_combined_wave_over_five_seeds(elman, cell):
    found = []
    for seed in range(5):
        assert elman("train", "forecast", *COMBINED, "--cell", cell, "--seed", seed, "-o", f"r{seed}")[0] == 0
        result = json.loads(elman("test", f"r{seed}", "--json")[1])
        assert result["windows"] == 190
        found.append(result["test"]["mse"])
    assert sorted(found)[2] <= 0.0125, found


def test_resume_takes_what_it_was_begun_with_and_nothing_else(elman):
    Path("cells").mkdir()
    Path("cells/own.py").write_text(MY_CELL)
    arguments = [*QUICK[2:], "--cell", "cells/own.py:mine", "-o", "r"]
    assert elman("train", "forecast", "wave:sine", *arguments)[0] == 0
    assert elman("train", "forecast", "--resume", *arguments)[0] == 0
    for extra in (["wave:combined"], ["--target", "x"], ["--time", "y"], ["--set", "slope=3"]):
        code, _, err = elman("train", "forecast", *extra, "--resume", "-o", "r")
        assert code == 2
        assert "has it from the run" in err


def test_plot_without_a_test_part_draws_the_loss_and_with_steps_the_forecast(elman):
    assert elman("train", "forecast", "wave:sine", *QUICK, "--split", "100,0,0", "-o", "a")[0] == 0
    assert json.loads(elman("plot", "a", "--json")[1])["pictures"] == ["a/loss.png"]
    write_series("d.csv", days(60))
    assert elman("train", "forecast", "d.csv", "--time", "day", *QUICK, "--horizon", "3", "-o", "b")[0] == 0
    code, out, _ = elman("plot", "b", "--steps", 10)
    assert code == 0
    assert out.split() == ["b/predictions.png", "b/residuals.png", "b/loss.png"]


def test_names_that_look_like_mathematics_are_drawn_as_they_are(elman):
    write_series("d.csv", days(60), header="day,$\\foo$")
    assert elman("train", "forecast", "d.csv", "--time", "day", *QUICK, "-o", "r")[0] == 0
    assert elman("plot", "r")[0] == 0


def test_hours_and_midnights_are_written_alike(elman):
    write_series("h.csv", [f"2020-01-{1 + h // 24:02d} {h % 24:02d}:00:00,{h % 5}" for h in range(70)])
    assert elman("train", "forecast", "h.csv", "--time", "day", *QUICK, "-o", "r")[0] == 0
    dates = json.loads(elman("forecast", "r", "--steps", 4, "--json")[1])["dates"]
    assert dates == ["2020-01-03T22:00", "2020-01-03T23:00", "2020-01-04T00:00", "2020-01-04T01:00"]


def test_inspect_shows_a_series_shorter_than_a_window(elman):
    write_series("d.csv", days(5))
    code, out, _ = elman("inspect", "d.csv", "--time", "day")
    assert code == 0
    assert "fewer values than context + horizon" in out


@pytest.mark.full
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    subprocess.run(
        command("train", "forecast", "wave:sine", *QUICK, "-o", "r"), cwd=tmp_path, check=True, capture_output=True
    )
    shell = f"set -o pipefail; {sys.executable} -m elman forecast r --steps 5000 | head -1"
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "step,sine\n"
    assert done.stderr == ""


def test_warnings_are_lines_and_not_source_paths(elman):
    _, _, err = elman("train", "forecast", "wave:sine", *QUICK, "--dropout", "0.1", "-o", "r")
    assert "warning: dropout acts between layers" in err
    assert ".py" not in err


def test_what_a_cell_prints_does_not_break_the_json(elman):
    Path("loud.py").write_text(MY_CELL.replace("    z = ", "    print('traced')\n    z = "))
    _, out, err = elman("train", "forecast", "wave:sine", *QUICK, "--cell", "loud.py:mine", "-o", "r", "--json")
    assert isinstance(json.loads(out), dict)
    assert "traced" in err
