"""Labelled sequences in many files: the same training as from one, and no more of them in memory than is looked at."""

from __future__ import annotations

import json
import os

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elman.data import parted, read_labelled
from elman.data.labelled import shards
from elman.data.labelled.shards import facts_of, kept, opened, read_shards, shards_of
from elman.data.labelled.stored import StoredSequences
from elman.errors import DataError
from elman.jobs import Classifier, load

QUICK = {"cell": "rnn", "hidden": 4, "epochs": 2, "batch": 8}


def texts(count, seed=0):
    numbers = np.random.default_rng(seed)
    label = numbers.permutation(np.arange(count) % 2)
    words = np.array([["bad", "poor", "dull", "so"], ["good", "fine", "nice", "so"]])
    rows = [
        " ".join(words[k, numbers.integers(4, size=numbers.integers(1, 8))]) + f" é{i % 7}" for i, k in enumerate(label)
    ]
    return pl.DataFrame({"text": rows, "label": [("no", "yes")[k] for k in label]})


def waves(count, channels=2, seed=0):
    numbers = np.random.default_rng(seed)
    label = numbers.permutation(np.arange(count) % 2)
    rows = [(numbers.normal(size=(numbers.integers(3, 9), channels)) + k).tolist() for k in label]
    return pl.DataFrame({"sequence": rows, "label": [("low", "high")[k] for k in label]})


def write(folder, frame, files, ending=".parquet"):
    folder.mkdir(parents=True, exist_ok=True)
    cuts = np.linspace(0, len(frame), files + 1).astype(int).tolist()
    for number in range(files):
        part = frame[cuts[number] : cuts[number + 1]]
        path = folder / f"train-{number:02}{ending}"
        {".parquet": part.write_parquet, ".jsonl": part.write_ndjson, ".csv": part.write_csv}[ending](path)
    return folder


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(8, 40),
    files=st.integers(1, 4),
    memory=st.integers(1, 10**6),
    made=st.sampled_from([texts, waves]),
    seed=st.integers(0, 99),
)
def test_shards_hold_what_one_file_does(tmp_path_factory, count, files, memory, made, seed):
    folder, frame = tmp_path_factory.mktemp("shards"), made(count, seed=seed)
    at_once = read_labelled(frame)
    read = shards_of(write(folder / "s", frame, files), None)
    of_piece = lambda piece, name: read_labelled(piece)  # noqa: E731
    pieces = list(shards._pieces(read, memory, of_piece))
    assert sum(len(piece) for _, _, piece in pieces) == count
    stored = read_shards("s", read, 1, of_piece, folder)
    assert isinstance(stored.sequences, StoredSequences)
    assert stored.labels == at_once.labels
    assert all(np.array_equal(a, b) for a, b in zip(stored.sequences, at_once.sequences, strict=True))
    assert stored.places[count - 1].startswith(str(read[-1]))
    parts, others = parted(stored, (60, 20, 20)), parted(at_once, (60, 20, 20))
    for name in ("train", "validation", "test"):
        assert np.array_equal(getattr(parts, name), getattr(others, name))
    kept(parts, folder / "data.bin")
    again = opened(folder / "data.bin", json.loads(json.dumps(facts_of(parts.data))))
    assert again.data.labels == others.data.labels
    assert np.array_equal(again.test, parts.test)
    assert all(np.array_equal(a, b) for a, b in zip(again.data.sequences, others.data.sequences, strict=True))


@pytest.mark.parametrize(
    ("made", "ending"), [(texts, ".parquet"), (texts, ".jsonl"), (texts, ".csv"), (waves, ".jsonl")]
)
def test_a_network_learns_the_same_from_shards(tmp_path, made, ending):
    frame = made(90)
    stored, at_once = Classifier(**QUICK), Classifier(**QUICK)
    stored.fit(write(tmp_path / "s", frame, 3, ending), run=tmp_path / "run")
    at_once.fit(frame)
    for one, other in zip(stored.model.state_dict().values(), at_once.model.state_dict().values(), strict=True):
        assert np.array_equal(one.numpy(), other.numpy())
    assert json.dumps(stored.test()) == json.dumps(at_once.test())
    assert sorted(os.listdir(tmp_path)) == ["run", "s"]
    (tmp_path / "s").rename(tmp_path / "gone")
    again = load(tmp_path / "run")
    assert json.dumps(again.test()) == json.dumps(stored.test())
    assert again.sample().what == at_once.sample().what
    again.draw(tmp_path)
    _, history = Classifier.resume(tmp_path / "run")
    assert history.epochs == 2


def test_validation_and_test_may_be_folders_too(tmp_path):
    frame = texts(90)
    folders = {name: write(tmp_path / name, frame[k::3], 2) for k, name in enumerate(("train", "validation", "test"))}
    classifier = Classifier(**QUICK)
    classifier.fit(folders["train"], run=tmp_path / "run", validation=folders["validation"], test=folders["test"])
    at_once = Classifier(**QUICK)
    at_once.fit(frame[0::3], validation=frame[1::3], test=frame[2::3])
    assert json.dumps(classifier.test()) == json.dumps(at_once.test())
    with pytest.raises(DataError, match="piece by piece or at once"):
        Classifier(**QUICK).fit(folders["train"], test=frame[2::3])


def test_words_are_learned_from_as_many_as_fit(tmp_path, monkeypatch):
    monkeypatch.setattr("elman.tasks.classify.MOST_LEARNED_FROM", 200)
    frame = texts(200)
    classifier = Classifier(**QUICK, level="word")
    classifier.fit(write(tmp_path / "s", frame, 2))
    task = classifier.task
    sizes = [len(task.parts.data.sequences[i].encode()) for i in task.parts.train]
    seen = len(classifier.weighing.bayes_of(["good"]))
    assert sum(sizes) > 1000
    assert seen == 1
    assert 0 < len(task.reader.tokens) <= 16


@pytest.mark.parametrize(
    ("files", "reading", "message"),
    [
        ({"a.parquet": b"no"}, {}, r"a\.parquet: is no Parquet file that can be read"),
        ({"a.jsonl": b'{"text": "a", "label": 1}\n{"text": "", "label": 1}\n'}, {}, r"a\.jsonl: row 2 .*is empty"),
        (
            {"a.jsonl": b'{"text": "a", "label": 1}\n', "b.jsonl": b'{"text": [1], "label": 1}\n'},
            {},
            r"b\.jsonl: holds sequences",
        ),
        ({"a.csv": b"text,label\na,1\n", "b.csv": b"x,label\na,1\n"}, {}, r"b\.csv: `sequence`: name the column"),
        ({"a.csv": b"text,label\na,1\n"}, {"id": "x"}, "read from one file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, files, reading, message):
    (tmp_path / "s").mkdir()
    for name, content in files.items():
        (tmp_path / "s" / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_labelled(tmp_path / "s", beside=tmp_path / "beside", **reading)
    assert not list((tmp_path / "beside").glob("*")) if (tmp_path / "beside").exists() else True


def test_files_without_rows_are_said(tmp_path):
    write(tmp_path / "s", texts(2)[:0], 2)
    with pytest.raises(DataError, match="its files have no rows"):
        read_labelled(tmp_path / "s", beside=tmp_path / "beside")
    assert not list((tmp_path / "beside").iterdir())


def test_memory_is_of_folders_and_parquet(tmp_path):
    with pytest.raises(DataError, match=r"`memory`: is of folders"):
        read_labelled(texts(9), memory=100)
    texts(9).write_parquet(tmp_path / "a.parquet")
    assert isinstance(read_labelled(tmp_path / "a.parquet", memory=100).sequences, StoredSequences)
    assert isinstance(read_labelled(str(tmp_path / "*.parquet")).sequences, StoredSequences)
