"""docs/cells.md is what the registry says today, and reads well."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from elman.cells import REGISTRY
from elman.cells.page import page
from elman.cli import run

DOCS = Path(__file__).parents[2] / "docs"
SPEED = DOCS / "cells_speed.json"


def test_the_page_is_up_to_date(capsys):
    speed = ["--speed", "docs/cells_speed.json"] if SPEED.is_file() else []
    assert run(["cells", "--markdown", *(str(SPEED) if word.endswith("json") else word for word in speed)]) == 0
    make = " ".join(["elman cells --markdown", *speed, "> docs/cells.md"])
    assert (DOCS / "cells.md").read_text() == capsys.readouterr().out, f"run: {make}"


def test_every_cell_has_its_equations_parameters_paper_and_use():
    text = page({"lstm": "12.3 x"}, "how")
    for name, cell in REGISTRY.items():
        section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)[1]
        assert cell.source in section
        assert cell.when.replace("``", "`") in section
        for state in cell.states:
            assert re.search(rf"^\\?(mathrm{{)?{state}}}?_{{t}} &= ", section, flags=re.MULTILINE), state
        assert all(f"| `{p.name}` |" in section for p in cell.program().parameters)
        assert all(f"`{k}={v!r}`" in section for k, v in cell.options.items())
        assert section.count("{") == section.count("}")
    assert text.count("12.3 x") == 2
    assert "(H, H)" in text


def test_without_figures_the_page_says_so(capsys):
    assert run(["cells", "--markdown", "--json"]) == 0
    assert "has not been measured" in json.loads(capsys.readouterr().out)["markdown"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cases": [], "machine": {}}', '{"cases": [{"cell": "lstm"}]}'])
def test_figures_of_another_kind_are_refused(tmp_path, capsys, text):
    (tmp_path / "speed.json").write_text(text)
    assert run(["cells", "--markdown", "--speed", str(tmp_path / "speed.json")]) == 2
    assert "elman bench --catalogue --json" in capsys.readouterr().err
    assert run(["cells", "--markdown", "--speed", str(tmp_path / "nothing.json")]) == 2
    assert run(["cells", "lstm", "--markdown"]) == 2
