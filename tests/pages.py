"""Pages that run: the Python and the commands of a tutorial, in order, and what it says they print."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from elman.cli import run

ROOT = Path(__file__).parents[1]
LEARN = ROOT / "docs" / "learn"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
# How far a number may be from the page's, as a share of it. What a training found differs from processor to processor.
EXACT, ABOUT = 2e-3, 0.5


@dataclass(frozen=True)
class Block:
    """A fenced block: python, sh, text (what the one before prints) or "text about" (its numbers are a training's)."""

    kind: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = re.findall(r"^```(\w[\w ]*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(kind, text) for kind, text in found]


def play(page: Path) -> None:
    """Run a page in the working folder; AssertionError where it prints something else than it says."""
    names: dict[str, object] = {"__name__": "page"}
    printed = ""
    for block in blocks(page):
        if block.kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.text, page.name, "exec"), names)
            printed = out.getvalue()
        elif block.kind == "sh":
            printed = ""
            for line in block.text.splitlines():
                if line.startswith("elman "):
                    command = shlex.split(line, comments=True)[1:]
                    if command[0] == "train" and "--epochs" not in command:
                        command += ["--epochs", "2"]  # the page tells people of minutes
                    with contextlib.redirect_stdout(io.StringIO()) as out:
                        code = run(command)
                    assert code == 0, f"{page.name}: {line}"
                    printed += out.getvalue()
        elif block.kind in ("text", "text about"):
            compare(printed, block.text, EXACT if block.kind == "text" else ABOUT, page.name)


def compare(found: str, said: str, within: float, name: str) -> None:
    """Hold what was printed against what the page says: words and whole numbers as they are, others nearly."""
    assert NUMBER.sub("#", found).split() == NUMBER.sub("#", said).split(), f"{name} prints:\n{found}"
    for a, b in zip(NUMBER.findall(found), NUMBER.findall(said), strict=True):
        whole = b.lstrip("-").isdigit()
        assert a == b if whole else abs(float(a) - float(b)) <= within * abs(float(b)) + 1e-9, (
            f"{name} says {b}; it prints:\n{found}"
        )
