"""What the documentation shows is run: the README's Python, its commands, and every example."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import DATA
from elman.cli import run

ROOT = Path(__file__).parents[2]
LEARN = ROOT / "docs" / "learn"  # test_learn.py plays these
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if LEARN not in p.parents),
]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), {"__name__": "docs"})


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_every_page_has_an_example(page):
    assert blocks(page, "python") or blocks(page, "sh")


def test_the_tables_of_the_benchmarks_are_as_their_logs_have_them():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "write.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# Trainings of several seconds each, of which the tests hold the like elsewhere.
LONG = ("counting", "reber", "memory", "explain_own")
EXAMPLES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])
    for path in sorted((ROOT / "examples").glob("*.py"))
]


@pytest.mark.full
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_run(example, tmp_path):
    settings = {**os.environ, "ELMAN_DATA": str(DATA.resolve()), "ELMAN_QUICK": "1"}
    done = subprocess.run(
        [sys.executable, example], cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if done.stdout.startswith("skipped"):
        pytest.skip(done.stdout.strip())


@pytest.mark.parametrize("name", ["names", "sentiment"])
def test_examples_of_classifying_stay_short(name):
    assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) < 40


@pytest.mark.full
def test_readme_commands_are_real(tmp_path, monkeypatch, capsys):
    """Each `elman ...` line of the README's shell blocks, training made short, in order, in one folder."""
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("elman ")]
    commands = [c[1:] for c in commands if c[1] != "demo"]
    assert len(commands) >= 5
    _write_what_the_readme_reads()
    for command in commands:
        short = ["--epochs", "2"] if command[0] == "train" else []
        assert run([*command, *short]) == 0, (command, capsys.readouterr().err)


def _write_what_the_readme_reads():
    Path("GS10.csv").write_text("observation_date,GS10\n" + "".join(
        f"{1953 + m // 12}-{m % 12 + 1:02d}-01,{3 + m % 7}\n" for m in range(400)))  # fmt: skip
    Path("shakespeare.txt").write_text("".join(f"ROMEO: the {n} night was {n % 7} long.\n" for n in range(400)))
    Path("names").mkdir()
    for language, ends in {"Italian": "aeiou", "English": "nrtly"}.items():
        stems = (f"{a}{b}" for a in "BCDGLMPRSV" for b in ("ar", "on", "el", "it'", "os"))
        Path("names", f"{language}.txt").write_text("\n".join(f"{stem}{end}" for stem in stems for end in ends))
    for shift, part in enumerate(("TRAIN", "TEST")):
        rows = "".join(f"{','.join(str((t * k) % 5 + shift) for t in range(12))}:{k % 2}\n" for k in range(1, 25))
        Path(f"GunPoint_{part}.ts").write_text(f"@problemName GunPoint\n@classLabel true 0 1\n@data\n{rows}")
    Path("films.csv").write_text("text,good\n" + "".join(
        f"a {'fine' if n % 2 else 'dull'} film of {n} parts,{n % 2}\n" for n in range(80)))  # fmt: skip


def test_diffs_show_lines_that_are_there():
    """A walk through the source shows the source: the lines added are in the file named, together."""
    shown = [part for block in blocks(ROOT / "CONTRIBUTING.md", "diff") for part in block.split("+++ b/")[1:]]
    assert len(shown) > 8
    for part in shown:
        name, *added = part.rstrip("\n").split("\n")
        text = "\n".join(line.removeprefix("+") for line in added)
        assert all(line.startswith("+") for line in added)
        assert f"{text}\n" in (ROOT / name).read_text(), name


def test_nothing_public_speaks_of_the_workshop():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not files:
        pytest.skip("not a git checkout")
    for name in files:
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".txt", "") and path.is_file() and path != Path(__file__).resolve():
            found = re.search(r"/work/|/root/|/\.library|\bhelper-\d|\bTODO\b", path.read_text())
            assert not found, f"{name}: {found}"
