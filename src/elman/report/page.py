"""The page: pictures, numbers and the stepper in one file that asks nothing of any network."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import Any

from elman.report import sections
from elman.report.drawing import draw
from elman.report.facts import Explanation
from elman.report.lessons import lesson
from elman.report.walk import walk
from elman.training import write_atomically

KINDS = {".png": "image/png", ".svg": "image/svg+xml"}


def write_page(
    path: str | Path,
    explanation: Explanation,
    pictures: Mapping[str, Path] | None = None,
    title: str = "A network, explained",
    live: str = "",
) -> Path:
    """Write ``explanation`` as one HTML file.

    ``pictures`` (by caption, PNG or SVG) stand inside it: its own if None.

    ``live`` is a page of its own that stands in it, to try the network on (``elman.export.page``).
    Raises :class:`RunError` where the file cannot be written.
    """
    with TemporaryDirectory() as folder:
        drawn = draw(explanation, Path(folder)) if pictures is None else pictures
        write_atomically(path, page(explanation, drawn, title, live).encode())
    return Path(path)


def page(explanation: Explanation, pictures: Mapping[str, Path], title: str, live: str = "") -> str:
    """The page as text."""
    from elman import __version__

    facts = explanation.facts
    return Template(_shipped("page.html")).substitute(
        title=escape(title),
        summary=escape(sections.summary(facts)),
        word=facts["verdict"]["word"],
        verdict=escape(sections.verdict(facts)),
        remarks=sections.remarks(facts),
        what=escape(facts["sample"]["what"][:1].upper() + facts["sample"]["what"][1:]),
        result=sections.result(facts),
        live=_live(live),
        pictures="\n".join(_picture(caption, path) for caption, path in pictures.items()),
        tables=sections.tables(facts),
        style=_shipped("page.css"),
        script=_shipped("stepper.js"),
        numbers=_data(facts),
        walk=_data(_walked(explanation)),
        version=escape(__version__),
    )


def _walked(explanation: Explanation) -> dict[str, Any]:
    chosen = explanation.sample
    places = walk(chosen.layer, chosen.x, **chosen.given)
    longer = [label for label in chosen.labels if len(label) > 1]
    return {
        "steps": len(chosen),
        "labels": list(chosen.labels),
        "text": chosen.text,
        "apart": bool(longer) and not any(label.startswith(" ") for label in longer),
        "places": sorted(places, key=lambda place: -place["layer"]),  # the nearest to the output first
    }


def _live(page: str) -> str:
    """Another page inside this one, as high as what it holds."""
    if not page:
        return ""
    grow = "this.style.height = this.contentDocument.documentElement.scrollHeight + 24 + 'px'"
    return (
        f'<section aria-labelledby="live-heading"><h2 id="live-heading">Change its input and watch</h2>\n'
        f'<iframe id="live" title="The network, live" srcdoc="{escape(page)}" onload="{grow}"></iframe></section>'
    )


def _shipped(name: str) -> str:
    return files("elman.report").joinpath(name).read_text(encoding="utf-8")


def _picture(caption: str, path: Path) -> str:
    data = b64encode(path.read_bytes()).decode()
    source = f"data:{KINDS[path.suffix]};base64,{data}"
    text = escape(caption)
    return (
        f'<figure><img src="{source}" alt="{text}"><figcaption><b>{text}.</b>{_lesson(caption)}</figcaption></figure>'
    )


def _lesson(caption: str) -> str:
    said = lesson(caption)
    if said is None:
        return ""
    shows, normal, act = map(escape, said)
    return f" {shows}<br><i>Normal:</i> {normal}<br><i>If not:</i> {act}"


def _data(value: Any) -> str:
    """JSON that no ``</script>`` in a text can end."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
