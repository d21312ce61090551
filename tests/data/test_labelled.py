"""Labelled sequences: what is read from each kind of file, what is refused and where, and parts with nothing twice."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data import Labelled, Vocabulary, parted, read_labelled, read_sequences
from elman.data.labelled.labelled import filled
from elman.data.labelled.ts import parse_ts
from elman.errors import DataError

TS = """#a comment
@problemName Made
@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength false
@classLabel true up down
@data
1,2,?:4,5,6:up
3,1:0.5,-1e2:down

"""
ONE = "@univariate true\n@equalLength true\n@seriesLength 2\n@classLabel true up down\n@data\n"


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_ts_channels_missing_values_and_unequal_lengths(tmp_path):
    found = read_labelled(write(tmp_path, "a.ts", TS))
    assert found.labels == ("up", "down")
    assert [s.shape for s in found.sequences] == [(3, 2), (2, 2)]
    assert np.array_equal(found.sequences[0], [[1, 4], [2, 5], [np.nan, 6]], equal_nan=True)
    assert found.sequences[1].tolist() == [[3, 0.5], [1, -100]]
    assert "1 missing value(s)" in found.notes[0]
    assert read_sequences(tmp_path / "a.ts")[1].tolist() == found.sequences[1].tolist()


def test_a_ts_directive_that_is_not_known_is_passed_over_and_said():
    found = parse_ts("@license free\n" + ONE + "1,2:up\n", "a.ts")
    assert found.notes == ("passed over @license",)


BAD_TS = {
    "empty": ("", "a.ts: is empty"),
    "no data": ("@univariate true\n", "has no @data"),
    "values before the data": ("1,2:up\n", "row 1"),
    "no labels": ("@univariate true\n@data\n1,2\n", "no @classLabel true"),
    "no sequences": (ONE, "no sequences after @data"),
    "a word for a number": (ONE + "1,2:up\n1,x:up\n", r"row 7 .*'x', which is no number"),
    "an unknown label": (ONE + "1,2:left\n", "row 6 .*'left'; @classLabel names up, down"),
    "another length": (ONE + "1,2,3:up\n", "row 6 .*3 steps; the header says 2"),
    "another number of channels": (ONE + "1,2:1,2:up\n", r"row 6 .*has 2 channel\(s\)"),
    "ragged channels": (TS + "1,2,3:1,2:up\n", "row 13 .*channel 1 has 2 steps and another 3"),
    "stamps": ("@timeStamps true\n" + ONE, "row 1 .*@timeStamps true"),
    "a dimension that is none": ("@dimensions two\n" + ONE, "row 1 .*'two'"),
    "a directive that says nothing": ("@dimensions\n" + ONE, "row 1 .*says nothing"),
}


@pytest.mark.parametrize("name", BAD_TS)
def test_bad_ts_files_are_refused_by_row(name):
    text, message = BAD_TS[name]
    with pytest.raises(DataError, match=message):
        parse_ts(text, "a.ts")


def test_a_folder_has_a_file_a_class(tmp_path):
    write(tmp_path, "Dutch.txt", "Aalst\n\n Bos \n")
    write(tmp_path, "Czech.txt", "Adsit\n")
    write(tmp_path, "notes.md", "no class\n")
    found = read_labelled(tmp_path)
    assert found.sequences == ("Adsit", "Aalst", "Bos")
    assert found.labels == ("Czech", "Dutch", "Dutch")
    assert found.places[2].endswith("Dutch.txt: row 3")


def test_lines_of_a_label_and_a_text(tmp_path):
    path = write(tmp_path, "a.txt", "0 so so\n1\ta joy  \n")
    found = read_labelled(path)
    assert (found.sequences, found.labels) == (("so so", "a joy"), ("0", "1"))
    with pytest.raises(DataError, match=r"row 2 .*'1' alone"):
        read_labelled(write(tmp_path, "b.txt", "0 so\n1\n"))
    assert read_sequences(write(tmp_path, "c.txt", "so so\n\na joy\n")) == ("so so", "a joy")


TABLES = {
    "texts": ([("so so", 0), ("a joy", 1)], ("so so", "a joy"), ("0", "1")),
    "one channel": ([([1, 2.5, 3], "a"), ([4], "b")], ([[1], [2.5], [3]], [[4]]), ("a", "b")),
    "two channels": ([([[1, 2], [3, 4]], "a"), ([[5, 6]], "b")], ([[1, 2], [3, 4]], [[5, 6]]), ("a", "b")),
}


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl", "frame"])
@pytest.mark.parametrize("name", TABLES)
def test_tables_of_every_kind_read_alike(tmp_path, kind, name):
    import polars as pl

    rows, sequences, labels = TABLES[name]
    cells, named = [row[0] for row in rows], [row[1] for row in rows]
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps({"x": x, "y": y}) for x, y in rows) + "\n")
    elif kind in ("parquet", "frame"):
        frame = pl.DataFrame({"x": cells, "y": named}, strict=False)
        if kind == "parquet":
            frame.write_parquet(path)
        path = frame if kind == "frame" else path
    else:
        text = [x if isinstance(x, str) else json.dumps(x) for x in cells]
        pl.DataFrame({"x": text, "y": named}).write_csv(path, separator="\t" if kind == "tsv" else ",")
    found = read_labelled(path, sequence="x", label="y")
    assert found.labels == labels
    plain = [s if isinstance(s, str) else s.tolist() for s in found.sequences]
    assert plain == list(sequences)
    if kind != "frame":
        again = read_sequences(path, sequence="x")
        assert [s if isinstance(s, str) else s.tolist() for s in again] == plain


@pytest.mark.parametrize("header", ["text,label", "id,Review,Sentiment", "label,sentence"])
def test_columns_that_are_called_as_usual_need_no_name(tmp_path, header):
    path, names = tmp_path / "a.csv", header.split(",")
    cells = {"text": "so so", "review": "so so", "sentence": "so so", "label": "no", "sentiment": "no", "id": "1"}
    path.write_text(f"{header}\n" + ",".join(cells[name.lower()] for name in names) + "\n")
    labelled = read_labelled(path)
    assert (labelled.sequences, labelled.labels) == (("so so",), ("no",))
    assert f"the sequence is in column {names[-2 if len(names) == 3 else 1 - (header[0] == 't')]!r}" in labelled.notes


def test_two_columns_called_as_usual_are_asked_about(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,comment,label\na,b,c\n")
    with pytest.raises(DataError, match="`sequence`: name the column; there are text, comment, label"):
        read_labelled(path)
    assert read_labelled(path, sequence="comment").sequences == ("b",)


def test_long_tables_have_a_row_a_step(tmp_path):
    rows = ["who,x,y,what", "b,1,2,up", "a,5,6,down", "b,3,,up"]
    path = write(tmp_path, "a.csv", "\n".join(rows) + "\n")
    found = read_labelled(path, sequence=["x", "y"], label="what", id="who")
    assert found.labels == ("up", "down")
    assert np.array_equal(found.sequences[0], [[1, 2], [3, np.nan]], equal_nan=True)
    assert found.sequences[1].tolist() == [[5, 6]]
    write(tmp_path, "a.csv", "\n".join([*rows, "a,1,1,up"]) + "\n")
    with pytest.raises(DataError, match=r"row 5 .*labelled 'up', and sequence 'a' 'down'"):
        read_labelled(path, sequence=["x", "y"], label="what", id="who")


BAD_TABLES = {
    "no file": (None, {}, "no such file"),
    "an empty file": ("", {}, "a.csv: is empty"),
    "no rows": ("x,y\n", {}, "a header and no rows"),
    "no columns named": ("x,y\nso,1\n", {"sequence": None, "label": None}, "`sequence` and `label`: name the column"),
    "a column that is not there": ("x,y\nso,1\n", {"label": "z"}, "no column 'z'; .*Known: x, y"),
    "an empty text": ("x,y\nso,1\n,0\n", {}, "row 3 .*column 'x' is empty"),
    "an empty label": ("x,y\nso,1\nno,\n", {}, "row 3 .*column 'y' is empty"),
    "a list that is none": ('x,y\n"[1,2]",1\n"[1,",0\n', {}, r"row 3 .*want a list"),
    "ragged channels": ('x,y\n"[1,2]",1\n"[[1,2],[3]]",0\n', {}, r"row 3 .*step 1 .*has 1 channel\(s\), and step 0 2"),
    "other channels": ('x,y\n"[1,2]",1\n"[[1,2]]",0\n', {}, r"row 3 .*has 2 channel\(s\), and a.csv: row 2"),
    "no steps": ('x,y\n"[1,2]",1\n"[]",0\n', {}, r"row 3 .*shape \(0, 1\)"),
    "a text in a list": ('x,y\n"[1,2]",1\n"[""b""]",0\n', {}, "row 3 .*want numbers"),
    "infinity": ('x,y\n"[1,2]",1\n"[1e999]",0\n', {}, "row 3 .*infinity"),
    "bytes that are no text": (b"x,y\nso,1\nn\xe9,0\n", {}, r"row 3 is not UTF-8 text \(byte 10\)"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_bad_tables_are_refused_by_file_and_row(tmp_path, monkeypatch, name):
    content, columns, message = BAD_TABLES[name]
    monkeypatch.chdir(tmp_path)
    if content is not None:
        write(tmp_path, "a.csv", content)
    with pytest.raises(DataError, match=message) as caught:
        read_labelled("a.csv", **({"sequence": "x", "label": "y"} | columns))
    assert str(caught.value).startswith("a.csv")
    assert "\n" not in str(caught.value)


def test_json_lines_name_the_row(tmp_path):
    for text, message in (('{"x": "a", "y": 1}\n{oops\n', "row 2 .*no JSON"), ("[1]\n", "row 1 .*want an object")):
        with pytest.raises(DataError, match=message):
            read_labelled(write(tmp_path, "a.jsonl", text), sequence="x", label="y")
    with pytest.raises(DataError, match="one number a row; name with `id`"):
        read_labelled(write(tmp_path, "b.jsonl", '{"x": 1, "y": 1}\n'), sequence="x", label="y")


def test_columns_are_refused_where_there_are_none(tmp_path):
    with pytest.raises(DataError, match="leave out `label`"):
        read_labelled(write(tmp_path, "a.txt", "0 so\n"), label="y")


def test_data_survive_their_arrays():
    for data in (
        Labelled(("né", "so"), ("b", "a"), "films", notes=("n",)),
        Labelled(([1, 2], [[3.5]]), ("b", "a")),
    ):
        again = Labelled.from_arrays(*data.to_arrays())
        assert again.labels == data.labels
        assert again.notes == data.notes
        assert all(np.array_equal(a, b) for a, b in zip(again.sequences, data.sequences, strict=True))


def test_missing_numbers_lie_between_their_neighbours():
    values = np.array([[np.nan, 1], [2, np.nan], [np.nan, np.nan], [4, np.nan]])
    assert filled(values, np.zeros(2)).tolist() == [[2, 1], [2, 1], [3, 1], [4, 1]]
    assert filled(np.full((2, 1), np.nan), np.array([7.0])).tolist() == [[7], [7]]
    assert np.isnan(values[0, 0])


def test_a_vocabulary_knows_training_alone():
    vocabulary = Vocabulary.of(["a film , a joy", "A bore"], "word", fewest=2)
    assert vocabulary.tokens == ("a",)
    assert vocabulary.ids("A  film").tolist() == [[1], [0]]
    assert vocabulary.ids(" ").tolist() == [[0]]
    assert len(vocabulary) == 2


@given(
    members=st.lists(st.tuples(st.sampled_from("abcdefghijklmnopqrst"), st.sampled_from("xyz")), min_size=1),
    percents=st.sampled_from([(80, 10, 10), (60, 20, 20), (50, 0, 50), (90, 10, 0), (100, 0, 0)]),
    seed=st.integers(0, 3),
)
def test_nothing_stands_in_two_parts(members, percents, seed):
    """Every different member stands in one part, and no content in two, however many labels it has."""
    texts, labels = zip(*members, strict=True)
    try:
        found = parted(Labelled(texts, labels), percents, seed)
    except DataError:
        assert min(Counter(labels).values()) < 2 or len(set(labels)) < 2 or len(set(texts)) < len(texts)
        return
    parts = (found.train, found.validation, found.test)
    held = [(found.data.sequences[i], found.data.labels[i]) for part in parts for i in part]
    assert sorted(held) == sorted(set(members))
    contents = [{found.data.sequences[i] for i in part} for part in parts]
    assert not contents[0] & contents[1] | contents[0] & contents[2] | contents[1] & contents[2]
    for percent, part in zip(percents, parts, strict=True):
        assert percent or not len(part)


@given(
    train=st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xy")), min_size=4),
    validation=st.lists(st.tuples(st.sampled_from("efghijkl"), st.sampled_from("xy")), min_size=1),
    test=st.lists(st.tuples(st.sampled_from("ghijklmn"), st.sampled_from("xy")), min_size=1),
)
def test_nothing_stands_in_two_files_parts(train, validation, test):
    datas = [Labelled(*zip(*members, strict=True)) for members in (train, validation, test)]
    try:
        found = parted(datas[0], (80, 10, 10), validation=datas[1], test=datas[2])
    except DataError:
        return
    parts = (found.train, found.validation, found.test)
    contents = [{found.data.sequences[i] for i in part} for part in parts]
    assert not contents[0] & contents[1] | contents[0] & contents[2] | contents[1] & contents[2]
    assert [found.data.sequences[i] for i in found.test] == [text for text, _ in test]


def test_parts_are_stratified_seeded_and_say_what_they_dropped():
    texts = [f"{i}" for i in range(200)] + ["1", "2", "150"]
    labels = ["a"] * 150 + ["b"] * 50 + ["a", "a", "a"]
    found = parted(Labelled(texts, labels), (70, 10, 20), seed=1)
    assert found.data.notes == ("left out 2 sequence(s) that stand there twice",)
    counts = [
        {label: [found.data.labels[i] for i in part].count(label) for label in "ab"}
        for part in (found.train, found.validation, found.test)
    ]
    assert all(abs(have["a"] - want * 1.5) <= 1 for have, want in zip(counts, (70, 10, 20), strict=True))
    assert all(abs(have["b"] - want * 0.5) <= 1 for have, want in zip(counts, (70, 10, 20), strict=True))
    again, other = (parted(Labelled(texts, labels), (70, 10, 20), seed=seed) for seed in (1, 2))
    assert np.array_equal(again.test, found.test)
    assert not np.array_equal(other.test, found.test)


def test_one_class_a_lone_member_and_a_label_training_never_sees_are_refused():
    with pytest.raises(DataError, match="every label is 'a'"):
        parted(Labelled("xyz", "aaa"), (60, 20, 20))
    with pytest.raises(DataError, match=r"sequence 2: is the one member of class 'b'"):
        parted(Labelled("xyz", "aab"), (60, 20, 20))
    assert len(parted(Labelled("xyz", "aab"), (100, 0, 0)).train) == 3
    with pytest.raises(DataError, match="t: sequence 1: has the label 'c', and training has none of it; it has a, b"):
        parted(Labelled("wxyz", "aabb"), (60, 20, 20), test=Labelled("uv", "ac", "t"))
    with pytest.raises(DataError, match="every sequence stands in a file of another part"):
        parted(Labelled("xy", "ab"), (60, 20, 20), test=Labelled("xy", "ab"))
    with pytest.raises(DataError, match="t: holds sequences of 1 channel"):
        parted(Labelled("wxyz", "aabb"), (60, 20, 20), test=Labelled([[1.0]], "a", "t"))


def test_the_public_data_sets_read_as_their_readme_says(data_folder):
    names = read_labelled(data_folder / "names")
    assert len(names) > 20_000
    assert len(names.classes) == 18
    found = parted(names, (80, 10, 10))
    assert found.data.notes == ("left out 2038 sequence(s) that stand there twice",)
    motions = read_labelled(data_folder / "ucr" / "BasicMotions_TRAIN.ts")
    assert (len(motions), motions.channels, motions.sequences[0].shape) == (40, 6, (100, 6))
    assert len(read_labelled(data_folder / "sst2" / "dev.txt")) == 872
