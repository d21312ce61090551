"""The tutorials run as they stand and print what they say; the Chinese ones are the same in code and figures."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands import COMMANDS
from conftest import DATA
from pages import ABOUT, EXACT, LEARN, ROOT, blocks, compare, play

SITE = (ROOT / "docs" / "site.py").read_text(encoding="utf-8")
TUTORIALS = sorted(LEARN.glob("[0-9]*.md"))
DOCS = [*LEARN.rglob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")]
# Pages and lines with options of other programs.
NOT_OURS = ("CHANGELOG.md", "benchmarks.md")
OTHERS = re.compile(r"\b(python|pip|pytest|make|git|ruff|mypy|gcc|torchrun|tensorboard)\b")
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.full
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda p: p.stem)
def test_it_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    if "GS10.csv" in text:
        if not (DATA / "GS10.csv").is_file():
            pytest.skip("no public data here")
        shutil.copy(DATA / "GS10.csv", tmp_path)
    if "shakespeare.txt" in text:
        lines = (f"ROMEO: the {n} night was {n % 7} long.\n" for n in range(400))
        Path("shakespeare.txt").write_text("".join(lines))
    play(page)


@pytest.mark.parametrize(
    ("found", "within"),
    [("mse 0.217 of 13", EXACT), ("mse 0.218 of 12", ABOUT), ("mae 0.218 of 13", ABOUT), ("", ABOUT)],
)
def test_what_a_page_prints_otherwise_is_noticed(found, within):
    compare("mse 0.218 of 13", "mse 0.218 of 13", within, "page")
    with pytest.raises(AssertionError):
        compare(found, "mse 0.218 of 13", within, "page")


def test_there_are_ten_in_both_languages():
    assert len(TUTORIALS) == 10
    assert [p.name for p in TUTORIALS] == [p.name for p in sorted((LEARN / "zh").glob("[0-9]*.md"))]


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda p: p.stem)
def test_the_chinese_page_has_the_same_code_results_and_headings(page):
    other = LEARN / "zh" / page.name
    assert blocks(other) == blocks(page)
    counted = [len(re.findall(r"^#+ ", p.read_text(encoding="utf-8"), re.MULTILINE)) for p in (page, other)]
    assert counted[0] == counted[1]


def test_the_chinese_readme_has_the_same_code_figures_and_sections():
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
    fence = re.compile(r"^```[\w ]*\n.*?^```$", re.DOTALL | re.MULTILINE)
    assert fence.findall(english) == fence.findall(chinese)
    said = [sorted(re.findall(r"\d+\.\d+|(?<![\w.])\.\d+", fence.sub("", page))) for page in (english, chinese)]
    assert said[0] == said[1]
    assert english.count("\n## ") == chinese.count("\n## ")


def test_every_option_that_a_page_names_is_there():
    known = {
        option for command in COMMANDS.values() for parameter in command.loaded().params for option in parameter.opts
    }
    known |= {"--help", "--version", "--install-completion", "--show-completion", "--extra-index-url"}
    for page in DOCS:
        lines = page.read_text(encoding="utf-8").splitlines()
        text = "\n".join(line for line in lines if page.name not in NOT_OURS and not OTHERS.search(line))
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]", text))
        assert named <= known, f"{page.name}: {sorted(named - known)}"


@pytest.mark.parametrize("page", DOCS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, heading = link.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if heading and target.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in map(anchor, headings), f"{page.name}: {link}"


def anchor(heading: str) -> str:
    """A heading as a link writes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# The site


def test_every_package_with_public_names_is_in_the_reference():
    lists = ast.literal_eval(re.search(r"^REFERENCE = (\{.*?^\})", SITE, re.DOTALL | re.MULTILINE)[1])
    packages = {
        ".".join(path.parent.relative_to(ROOT / "src").parts)
        for path in (ROOT / "src" / "elman").glob("*/__init__.py")
        if "__all__" in path.read_text(encoding="utf-8")
    }
    inside = {"elman.cells", "elman.choices", "elman.cli", "elman.linear", "elman.serve", "elman.tasks"}
    assert packages - inside <= lists.keys()
    assert all(f"reference/{package}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8") for package in lists)


@pytest.mark.slow
def test_the_site_is_built_without_a_broken_link():
    pytest.importorskip("mkdocs")
    subprocess.run([sys.executable, "docs/site.py"], cwd=ROOT, check=True)
    assert "unrolled.svg" in (ROOT / "build/site/learn/01-by-hand.html").read_text(encoding="utf-8")
