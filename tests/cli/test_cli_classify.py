"""The commands of classifying: results, errors in one line with exit code 2, and run folders whole or not at all."""

import csv
import json
import os
from pathlib import Path

import pytest

QUICK = ["--cell", "gru", "--hidden", "4", "--embedding", "4", "--epochs", "2"]
GOOD, BAD = ["so good", "good film", "a joy , good"], ["so bad", "bad film", "a bore , bad"]


def write_lines(path="films.txt", count=10):
    lines = [f"{label} {text} {i}" for i in range(count) for label, texts in ((1, GOOD), (0, BAD)) for text in texts]
    Path(path).write_text("\n".join(lines) + "\n")


def test_train_test_plot_classify(elman):
    write_lines()
    code, out, err = elman("train", "classify", "films.txt", "--level", "word", *QUICK, "-o", "r", "--json")
    assert code == 0, err
    assert json.loads(out)["task"] == "classify"
    code, out, _ = elman("test", "r", "--json")
    result = json.loads(out)
    assert {"accuracy", "macro_f1", "calibration_error"} <= result["test"].keys()
    assert result["baselines"].keys() == {"majority", "naive_bayes"}
    assert result["classes"]["0"].keys() == {"precision", "recall", "f1", "support"}
    assert "naive bayes" in elman("test", "r")[1]
    for kind, magic in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        code, out, _ = elman("plot", "r", "--format", kind)
        assert code == 0
        assert [Path(line).name for line in out.splitlines()] == [f"confusion.{kind}", f"loss.{kind}"]
        assert all(Path(line).read_bytes().startswith(magic) for line in out.splitlines())
    assert elman("plot", "r", "--steps", 3)[0] == 2
    code, out, _ = elman("classify", "r", "so good", "bad")
    assert code == 0
    assert len(out.splitlines()) == 2
    result = json.loads(elman("classify", "r", "so good", "--json")[1])
    assert result["classes"] == ["0", "1"]
    assert sum(result["probabilities"][0]) == pytest.approx(1)
    assert elman("train", "classify", "--resume", "-o", "r")[0] == 0
    assert elman("train", "classify", "--resume", "-o", "r", "--test", "films.txt")[0] == 2


def test_a_file_is_classified_to_a_table(elman):
    write_lines()
    assert elman("train", "classify", "films.txt", *QUICK, "-o", "r")[0] == 0
    Path("new.csv").write_text('id,text\n1,"so, good"\n2,bad\n')
    code, _, _ = elman("classify", "r", "--data", "new.csv", "--sequence", "text", "-o", "out.csv")
    assert code == 0
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert [row["text"] for row in rows] == ["so, good", "bad"]
    assert all(float(row["0"]) + float(row["1"]) == pytest.approx(1, abs=1e-5) for row in rows)
    for arguments in ((), ("so", "--data", "new.csv"), ("so", "--sequence", "text")):
        assert elman("classify", "r", *arguments)[0] == 2


def test_numbers_with_a_test_file_of_their_own(elman):
    head = "@univariate true\n@classLabel true up down\n@data\n"
    rows = [f"{i},{i + s},{i + 2 * s},{i + 5 * s}:{n}" for i in range(12) for s, n in ((1, "up"), (-1, "down"))]
    Path("a.ts").write_text(head + "\n".join(rows) + "\n")
    Path("b.ts").write_text(head + "90,91,?,93:up\n7,6.5,6:down\n0,1,2,5:up\n")
    code, _, err = elman("train", "classify", "a.ts", "--test", "b.ts", *QUICK, "--split", "100,0,0", "-o", "r")
    assert code == 0
    assert "note: training: left out 1 sequence(s) that stand in another file too" in err
    assert "note: 1 missing value(s)" in err
    assert json.loads(elman("test", "r", "--json")[1])["sequences"] == 3
    code, out, _ = elman("classify", "r", "--data", "b.ts")
    assert code == 0
    assert len(out.splitlines()) == 3
    assert elman("classify", "r", "up and up")[0] == 2


def test_a_table_and_a_folder(elman):
    Path("t.csv").write_text("text,y\n" + "".join(f"{t} {i},{t[-1]}\n" for i in range(20) for t in ("aa", "bb")))
    options = ("--sequence", "text", "--label", "y", *QUICK)
    assert elman("train", "classify", "t.csv", *options, "-o", "r")[0] == 0
    Path("names").mkdir()
    for name in ("Dutch", "Czech"):
        Path(f"names/{name}.txt").write_text("".join(f"{name[0]}{i}\n" for i in range(30)))
    assert elman("train", "classify", "names", *QUICK)[0] == 0
    assert json.loads(elman("test", "runs/names-gru", "--json")[1])["classes"].keys() == {"Czech", "Dutch"}


BAD_DATA = {
    "an empty file": ("", [], "films.txt: is empty"),
    "one class": ("1 so\n1 a\n1 b\n", [], "films.txt: every label is '1'"),
    "a class with one member": ("1 so\n1 a\n1 b\n0 c\n", [], "films.txt: row 4: is the one member of class '0'"),
    "a label that training misses": ("1 a\n0 b\n1 c\n0 d\n", ["--test", "t.txt"], "t.txt: row 2: has the label '2'"),
    "invalid UTF-8": (b"1 so\n0 n\xe9\n", [], "films.txt: row 2 is not UTF-8 text (byte 8)"),
    "a label alone": ("1 so\n0\n", [], "films.txt: row 2"),
    "a column of a file without": ("1 so\n0 b\n", ["--label", "y"], "leave out --label"),
    "no such pooling": ("1 so\n0 b\n", ["--pooling", "min"], "--pooling: got 'min'"),
    "a split that is none": ("1 so\n0 b\n", ["--split", "80,30,10"], "sums to 120"),
    "no such test file": ("1 a\n0 b\n1 c\n0 d\n", ["--test", "none.txt"], "none.txt: no such file"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_input_gives_one_line_and_leaves_no_run(elman, name):
    content, options, message = BAD_DATA[name]
    Path("films.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    Path("t.txt").write_text("1 so what\n2 hm\n")
    code, out, err = elman("train", "classify", "films.txt", *QUICK, *options, "-o", "r")
    assert code == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert sorted(os.listdir()) == ["films.txt", "t.txt"]


def test_ragged_channels_are_refused_by_row(elman):
    Path("a.jsonl").write_text('{"x": [[1, 2], [3, 4]], "y": 0}\n{"x": [[1, 2], [3]], "y": 1}\n')
    code, _, err = elman("train", "classify", "a.jsonl", "--sequence", "x", "--label", "y", *QUICK, "-o", "r")
    assert code == 2
    assert "a.jsonl: row 2" in err
    assert "step 1 (counted from 0) has 1 channel(s), and step 0 2" in err
