"""Cells from a user's own file: what the file does when it runs must not be what the command does."""

from __future__ import annotations

import sys

import pytest

from elman.cells import get
from elman.errors import CellError

CELL = "import elman\n\n@elman.cell\ndef mine(x, h, p):\n    return p.h(x, h)\n"


@pytest.fixture
def refusal(tmp_path):
    def refused(text: str) -> str:
        file = tmp_path / "bad.py"
        file.write_text(text)
        with pytest.raises(CellError) as caught:
            get(f"{file}:mine")
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert "elman_cells_of_bad" not in sys.modules
        return str(caught.value)

    return refused


@pytest.mark.parametrize("end", ["sys.exit(0)", "sys.exit()", "raise SystemExit('done')"])
def test_a_file_that_ends_the_program_is_refused(refusal, end):
    assert "line 2: SystemExit" in refusal(f"import sys\n{end}\n" + CELL)


def test_what_a_file_prints_goes_to_stderr(tmp_path, capsys):
    (tmp_path / "loud.py").write_text("print('hello')\n" + CELL)
    assert get(f"{tmp_path}/loud.py:mine").name == "mine"
    print("still here")
    said = capsys.readouterr()
    assert said.out == "still here\n"
    assert said.err == "hello\n"


def test_a_file_may_hold_a_dataclass_with_annotations_as_text(tmp_path):
    data = "from dataclasses import dataclass\n\n@dataclass\nclass Sizes:\n    hidden: int = 3\n\n"
    (tmp_path / "dated.py").write_text("from __future__ import annotations\n" + data + CELL)
    assert get(f"{tmp_path}/dated.py:mine").name == "mine"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\ndef f(:\n", "line 2: SyntaxError: invalid syntax"),
        ("def f():\npass\n", "line 2: IndentationError: expected an indented block"),
        ("def f():\n    return 1 / 0\n\nf()\n", "line 2: ZeroDivisionError: division by zero"),
        ("raise ValueError('one\\ntwo')\n", "line 1: ValueError: one two"),
        ("x = '\0'\n", "null bytes"),
    ],
)
def test_a_file_that_does_not_run_is_named_with_its_line(refusal, text, words):
    assert words in refusal(text)


def test_a_fault_in_a_neighbour_is_the_neighbours(refusal, tmp_path):
    (tmp_path / "elman_neighbour.py").write_text("\n\nx = = 1\n")
    assert "elman_neighbour.py: line 3: SyntaxError" in refusal("import elman_neighbour\n" + CELL)


def test_a_file_of_the_current_folder_is_named_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.py").write_text("x = 1\nimport sys; sys.exit(0)\n")
    with pytest.raises(CellError, match=r"^here.py does not run: line 2: SystemExit: 0; it must run to its end$"):
        get("here.py:mine")
    (tmp_path / "here.py").write_text("x = 1\nx = = 1\n")
    with pytest.raises(CellError, match=r"^here.py does not run: line 2: SyntaxError: invalid syntax$"):
        get("here.py:mine")


def test_names_too_long_for_a_file_are_no_file():
    with pytest.raises(CellError, match="no such file"):
        get("a" * 300 + ".py:mine")
