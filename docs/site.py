"""Build the site and the notebooks from the pages of this repository.

    python docs/site.py            # build/site, strictly: no broken link, every public name in the reference
    python docs/site.py notebooks  # build/notebooks, from the tutorials

The site works from a folder, without a network: open build/site/index.html.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from docstrings import as_markdown

ROOT = Path(__file__).resolve().parents[1]
SOURCE, SITE, NOTEBOOKS = (ROOT / "build" / name for name in ("site-source", "site", "notebooks"))
# Pages that stand beside docs/, and their names in the site.
OUTSIDE = {
    "README.md": "index.md",
    "README.zh.md": "index.zh.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks-how.md",
    "CITATION.cff": "CITATION.cff",
}
# The packages of the reference, and what each is for.
REFERENCE = {
    "elman.layers": "Layers",
    "elman.equations": "Cells and equations",
    "elman.jobs": "Jobs: forecast, generate, classify",
    "elman.data": "Data",
    "elman.metrics": "Metrics",
    "elman.insight": "Insight: gradients, memory, gates",
    "elman.report": "Reports",
    "elman.pictures": "Pictures",
    "elman.training": "Training and runs",
    "elman.stepping": "Single steps",
    "elman.export": "Export",
    "elman.backends": "Backends",
    "elman.checks": "Checks",
    "elman.bench": "Benchmarks",
    "elman.errors": "Errors",
}
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def collect() -> None:
    """Copy every page to where it stands in the site, with its links."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    pages = {
        path: path.relative_to(ROOT / "docs")
        for path in (ROOT / "docs").rglob("*")
        if path.is_file() and path.suffix in (".md", ".json", ".png", ".svg")
    }
    pages |= {ROOT / name: Path(to) for name, to in OUTSIDE.items()}
    for path, to in pages.items():
        (SOURCE / to).parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".md":
            (SOURCE / to).write_text(moved(path.read_text(encoding="utf-8"), path, to, pages), encoding="utf-8")
        else:
            shutil.copy(path, SOURCE / to)
    decisions = [p for p in sorted(pages) if p.parent.name == "decisions"]
    titles = (f"- [{p.read_text(encoding='utf-8').partition(chr(10))[0].lstrip('# ')}]({p.name})" for p in decisions)
    (SOURCE / "decisions" / "index.md").write_text("# Decisions\n\n" + "\n".join(titles) + "\n", encoding="utf-8")
    reference()


def moved(text: str, path: Path, to: Path, pages: dict[Path, Path]) -> str:
    """A page's text with its links as they are from ``to``; of a link to a file that is not there, the words."""

    def link(found: re.Match[str]) -> str:
        words, target, heading = found[1], found[2], found[3] or ""
        if not target or "://" in target or target.startswith("mailto:"):
            return found[0]
        place = (path.parent / target).resolve()
        if place in pages:
            return f"[{words}]({os.path.relpath(pages[place], to.parent)}{heading})"
        if place == ROOT / "docs" / "decisions":
            return f"[{words}]({os.path.relpath('decisions/index.md', to.parent)})"
        return words

    return LINK.sub(link, text)


def reference() -> None:
    """A page for each package: all names that it exports."""
    (SOURCE / "reference").mkdir()
    rows = []
    for package, title in REFERENCE.items():
        module: Any = importlib.import_module(package)
        names = getattr(module, "__all__", None) or public(module)
        about = as_markdown((module.__doc__ or "").strip())
        body = "\n\n".join(f"::: {package}.{name}" for name in names)
        (SOURCE / "reference" / f"{package}.md").write_text(f"# {package}\n\n{about}\n\n{body}\n", encoding="utf-8")
        rows.append(f"| [{package}]({package}.md) | {title} |")
    table = "| package | what for |\n|---|---|\n" + "\n".join(rows)
    (SOURCE / "reference" / "index.md").write_text(f"# Reference\n\n{table}\n", encoding="utf-8")


def public(module: Any) -> list[str]:
    """The names of a module without ``__all__``: what it defines itself."""
    return [
        n for n, v in vars(module).items() if not n.startswith("_") and getattr(v, "__module__", "") == module.__name__
    ]


def notebooks() -> None:
    """Write each tutorial as a notebook; its commands become cells, too."""
    for page in sorted((ROOT / "docs" / "learn").rglob("[0-9]*.md")):
        to = NOTEBOOKS / page.relative_to(ROOT / "docs" / "learn").with_suffix(".ipynb")
        to.parent.mkdir(parents=True, exist_ok=True)
        text = re.sub(r"^```sh\n(.*?)^```$", commands, page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        convert = ["jupytext", "--from", "markdown", "--to", "ipynb", "--output", str(to)]
        subprocess.run([sys.executable, "-m", *convert], input=text, text=True, check=True, stdout=subprocess.DEVNULL)


def commands(block: re.Match[str]) -> str:
    """A block of commands as a cell."""
    lines = [f"!{line}" for line in block[1].splitlines() if line.strip()]
    return "```python\n" + "\n".join(lines) + "\n```"


if __name__ == "__main__":
    if sys.argv[1:] == ["notebooks"]:
        notebooks()
    else:
        collect()
        subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"], cwd=ROOT, check=True)
        print(SITE / "index.html")
