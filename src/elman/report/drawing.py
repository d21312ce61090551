"""The pictures of an explanation."""

from __future__ import annotations

from pathlib import Path

from elman import pictures
from elman.insight import Activity
from elman.report import sections
from elman.report.facts import Explanation

DRAWN = 300  # steps of states and gates, the last
COLOURED = 720  # characters of a text, the first


def draw(explanation: Explanation, folder: Path, kind: str = "png") -> dict[str, Path]:
    """Draw the pictures of an explanation; return the files by caption.

    What matters, gradient flow, memory, gates, and for a text its characters.

    The files go into ``folder``, each a PNG or, where ``kind`` says so, an SVG.
    """
    facts, chosen = explanation.facts, explanation.sample
    name = ", ".join(filter(None, (facts["network"]["cell"], facts["task"])))
    program, last = chosen.layer.program, len(explanation.activities)
    state = program.states[0].name
    measured = len(chosen) - facts["sample"]["measured"] + 1
    drawn = {
        f"Which steps matter for {facts['attribution']['question']}": pictures.draw_attribution(
            folder / f"attribution.{kind}", facts["attribution"]["mass"], f"{name}: which steps matter", chosen.labels
        ),
        "How much of each step's loss reaches each earlier state": pictures.draw_gradient_flow(
            folder / f"gradient_flow.{kind}",
            explanation.flow.heat,
            f"{name}: gradient flow, layer {last}",
            state,
            measured,
        ),
        "How far back an input moves the last output": pictures.draw_memories(
            folder / f"memory.{kind}", explanation.memories, f"{name}: effective memory"
        ),
        "From within how many steps the gradient of the weights comes": pictures.draw_shares(
            folder / f"shares.{kind}", {name: explanation.shares}, f"{name}: share of the gradient by distance"
        ),
        "States, gates and candidates over time": pictures.draw_activity(
            folder / f"gates.{kind}",
            _shown(explanation),
            f"{name}: layer {last}",
            first=max(0, len(chosen) - DRAWN) + 1,
        ),
    }
    drawn |= _beside(explanation, folder, kind)
    if chosen.text:
        values = explanation.activities[-1][0][state]
        unit = int(values.values[:, 0].std(0, correction=0).argmax())
        drawn[f"The text, coloured by the unit of {state} that moves most"] = pictures.draw_text(
            folder / f"text.{kind}", chosen.labels[:COLOURED], values.values[:COLOURED, 0, unit],
            f"{name}: layer {last}, unit {unit} of {state}", f"{state}[{unit}]",
        )  # fmt: skip
    return drawn


def _beside(explanation: Explanation, folder: Path, kind: str) -> dict[str, Path]:
    """The pictures of a network beside those that it was compared with."""
    if not explanation.beside:
        return {}
    sizes = {
        one["name"]: f"{one['name']} ({sections.cell(one)}, {one['parameters']} weights)"
        for one in explanation.facts["compared"]
    }
    named = {sizes[name]: one for name, one in explanation.beside.items()}
    return {
        "Gradient flow, beside that of others": pictures.draw_gradient_flows(
            folder / f"gradient_flows.{kind}",
            {name: one.flow.heat for name, one in named.items()},
            "gradient flow, each relative to its largest",
        ),
        "Effective memory by gradient, beside that of others": pictures.draw_memories(
            folder / f"memories.{kind}",
            {name: one.memory for name, one in named.items()},
            "effective memory by gradient",
        ),
        "From within how many steps the gradient comes, beside that of others": pictures.draw_shares(
            folder / f"shares_beside.{kind}",
            {name: one.shares for name, one in named.items()},
            "share of the gradient by distance",
        ),
    }


def _shown(explanation: Explanation) -> dict[str, Activity]:
    """What is named in the last layer, forwards, of the last steps."""
    return {
        name: Activity(name, activity.values[-DRAWN:], activity.running[-DRAWN:], activity.bounds)
        for name, activity in explanation.activities[-1][0].items()
    }
