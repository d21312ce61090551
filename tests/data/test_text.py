"""Texts: read in pieces, kept as ids, and what is said of those that cannot be read."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data import Ids, Vocabulary, read_alphabet, split_text, write_ids
from elman.data.text import ids as texts
from elman.data.text.alphabet import LEVELS, RARE, Words
from elman.data.text.composed import composed
from elman.data.text.ids import id_type, read_text
from elman.errors import DataError

VERSE = "Tyger Tyger, burning bright,\n\tIn the  forests of the night; naïve — café 東京 🐯\r\n"


def ids_of(source, level, folder, words=30_000):
    alphabet, count = read_alphabet(source, level, words)
    write_ids(source, alphabet, folder / "ids")
    return alphabet, Ids(folder / "ids", count, len(alphabet))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1 << 20])
def test_a_text_comes_back_whatever_the_pieces(level, piece, tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "PIECE", piece)
    monkeypatch.setattr(texts.read_pieces, "__defaults__", (piece,))
    monkeypatch.setattr(texts.read_text, "__defaults__", (piece,))
    alphabet, ids = ids_of(VERSE.encode(), level, tmp_path)
    assert "".join(alphabet.text(ids.block(0, len(ids)))) == VERSE
    assert alphabet.lengths[ids.block(0, len(ids))].sum() == len(VERSE)
    assert np.array_equal(alphabet.ids(VERSE), ids.block(0, len(ids)))


@given(st.text(st.characters(blacklist_categories=["Cs"]), min_size=1), st.integers(1, 5))
def test_decoding_in_pieces_is_decoding(text, size):
    assert "".join(read_text(text.encode(), size)) == composed(text.removeprefix("\ufeff"))


@given(st.text(max_size=40), st.integers(1, 39))
def test_words_are_those_of_the_whole_text(text, cut):
    alphabet, _ = Words.of([text, VERSE])
    whole = np.concatenate([*alphabet.pieces([text])])
    assert np.array_equal(np.concatenate([*alphabet.pieces([text[:cut], text[cut:]])]), whole)


def test_rare_words_are_one_symbol_of_their_mean_length(tmp_path):
    alphabet, ids = ids_of(b"a a a bb bb ccc dddd", "word", tmp_path, words=2)
    assert alphabet.tokens == (RARE, " a", " bb")
    assert ids.block(0, 7).tolist() == [0, 1, 1, 2, 2, 0, 0]
    assert alphabet.lengths[ids.block(0, 7)].sum() == pytest.approx(20)


def test_streams_are_read_where_they_begin(tmp_path):
    _, ids = ids_of(bytes(range(256)), "byte", tmp_path)
    assert ids.streams(np.array([0, 100, 250]), 3).tolist() == [[0, 1, 2], [100, 101, 102], [250, 251, 252]]
    assert ids.block(254, 300).tolist() == [254, 255]
    assert ids.streams(np.array([254, 256, 0]), 3).tolist() == [[254, 255, 0], [0, 0, 0], [0, 1, 2]]


@pytest.mark.parametrize(("symbols", "size"), [(2, 1), (256, 1), (257, 2), (65536, 2), (65537, 4)])
def test_ids_take_as_little_room_as_they_can(symbols, size):
    assert id_type(symbols).itemsize == size


@pytest.mark.parametrize(
    ("raw", "offset"),
    [(b"abc\xffdef", 3), (b"\xe9", 0), ("é".encode() * 3 + b"\xc3", 6), (b"a" * 1000 + b"\xe2\x82(", 1000)],
)
@pytest.mark.parametrize("piece", [1, 2, 1 << 20])
def test_a_byte_that_is_no_utf8_is_named_by_its_offset(raw, offset, piece, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=rf"a\.txt: byte {offset} \(counted from 0\) is not UTF-8.*`level=byte`"):
        list(read_text(path, piece))
    assert read_alphabet(path, "byte")[1] == len(raw)


def test_what_is_no_text_is_said(tmp_path):
    (tmp_path / "empty.txt").touch()
    for level in LEVELS:
        with pytest.raises(DataError, match=r"empty\.txt: is empty"):
            read_alphabet(tmp_path / "empty.txt", level)
    with pytest.raises(DataError, match="no such file"):
        read_alphabet(tmp_path / "none.txt", "char")
    with pytest.raises(DataError, match="is a folder"):
        read_alphabet(tmp_path, "char")
    with pytest.raises(DataError, match="cannot be read"):
        read_alphabet("a\0b", "char")


def test_what_is_not_known_is_named_with_what_is():
    with pytest.raises(DataError, match=r"the character 'x' is not known; known are 'ehlo'"):
        read_alphabet(b"hello", "char")[0].ids("hex")
    with pytest.raises(DataError, match=r"the word ' you' is not known; known are ' to', 'hello'"):
        read_alphabet(b"hello to", "word")[0].ids("hello you")
    with pytest.raises(DataError, match=r"known are '.{100}' and 100 more"):
        read_alphabet("".join(map(chr, range(300, 500))).encode(), "char")[0].ids("x")
    with pytest.raises(DataError, match="is not known"):
        read_alphabet(b"hello", "char")[0].ids("\udcff")


def test_a_text_that_changed_is_noticed(tmp_path):
    alphabet, ids = ids_of(b"hello", "char", tmp_path)
    (tmp_path / "ids").write_bytes(b"abc")
    with pytest.raises(DataError, match="the text has changed"):
        Ids(ids.path, len(ids), len(alphabet))
    with pytest.raises(DataError, match="is not known"):
        write_ids(b"hexlo", alphabet, tmp_path / "other")


def test_splits():
    assert split_text(1000, (90, 10, 0), "a")[:2] == (range(0, 900), range(900, 1000))
    with pytest.raises(DataError, match="10 % of 5 symbols leaves 0 for validation, which needs 1; give more text"):
        split_text(5, (80, 10, 10), "a.txt")
    with pytest.raises(DataError, match="leaves 1 for training, which needs 2"):
        split_text(1, (100, 0, 0), "a.txt")
    with pytest.raises(DataError, match="sums to 90"):
        split_text(100, (80, 10, 0), "a.txt")


def test_a_text_is_never_in_memory_as_a_whole(tmp_path):
    """40 MB of text: the peak of what Python and numpy hold is that of a few pieces."""
    import tracemalloc

    path = tmp_path / "long.txt"
    with open(path, "wb") as file:
        for _ in range(40):
            file.write(b"to be or not to be\n" * (1_000_000 // 19))
    tracemalloc.start()
    try:
        alphabet, ids = ids_of(path, "char", tmp_path)
        for first in range(0, len(ids) - 10_000, 1_000_000):
            ids.streams(np.arange(first, first + 3200, 100), 4096)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(ids) == path.stat().st_size > 39e6
    assert peak < 25e6
    assert "".join(alphabet.text(ids.block(19, 38))) == "to be or not to be\n"


@pytest.mark.slow
def test_a_gigabyte_trains_in_little_memory():
    import subprocess
    import sys
    from pathlib import Path

    script = Path(__file__).parents[2] / "benchmarks" / "large_text.py"
    command = [sys.executable, script, "--megabytes", "1000", "--seconds", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout.split("peak")[1].split()[0]) < 1500, done.stdout


COMPOSING = st.text(
    st.sampled_from("aeo\u0301\u0308\u0327가각\u1100\u1161\u11a8\u09c7\u09be\u0e33\u0f73\u0f71 中\n"), max_size=40
)


@given(COMPOSING, st.integers(1, 9))
def test_a_text_in_pieces_is_composed_as_the_whole(text, size):
    assert "".join(read_text(text.encode(), size)) == unicodedata.normalize("NFC", text)


def test_texts_that_are_the_same_are_one_at_every_level():
    whole, parted = (unicodedata.normalize(form, "le café, là où l'été est né. ") for form in ("NFC", "NFD"))
    assert whole != parted
    for level in ("char", "word"):
        (one, n), (other, m) = (read_alphabet(text.encode(), level) for text in (whole, parted))
        assert (one.tokens, n) == (other.tokens, m)
        assert one.ids(whole).tolist() == one.ids(parted).tolist()
        vocabularies = [Vocabulary.of([text], level, 1, 3) for text in (whole, parted)]
        assert vocabularies[0] == vocabularies[1]
        assert vocabularies[0].ids(whole).tolist() == vocabularies[0].ids(parted).tolist()


def test_a_prompt_from_the_middle_of_a_line_finds_its_word():
    words, _ = read_alphabet(b"The cat sat.\nThe dog ran.\n", "word")
    assert "cat" not in words.tokens
    assert "".join(words.text(words.ids("cat sat"))) == " cat sat"
    assert "".join(words.text(words.ids("The dog"))) == "The dog"
    with pytest.raises(DataError, match="the word 'cow' is not known"):
        words.ids("cow sat")
