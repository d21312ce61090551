"""The mutants are still there to be planted: each finds its line, and the source it makes is Python."""

import ast

import pytest

from insight_mutants import INSIGHT
from mutants import ERRORS, SOURCE, Error


@pytest.mark.parametrize("error", [*ERRORS, *(Error(*fields) for fields in INSIGHT)], ids=lambda error: error.name)
def test_each_finds_its_line(error):
    source = (SOURCE / "elman" / error.file).read_text()
    assert error.planted(source) != source
    ast.parse(error.planted(source))


def test_each_is_in_a_place_of_its_own():
    assert len({(error.file, error.after) for error in ERRORS}) == len(ERRORS) == 41
