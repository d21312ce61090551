"""The numbers of an explanation in words and tables: as lines for a terminal, and as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Facts = Mapping[str, Any]
LISTED = 12  # units named one by one
NOTHING = "nothing, its gradient is 0"


def summary(facts: Facts) -> str:
    """What was trained, in a line."""
    network = facts["network"]
    alike = len(set(network["hidden"])) == 1
    sizes = ", ".join(str(size) for size in network["hidden"][: 1 if alike else None])
    both = ", read from both ends" if network["bidirectional"] else ""
    layers = f"{network['layers']} layer{'s' * (network['layers'] > 1)}"
    task = f"{facts['task']}: " if facts["task"] else ""
    units = f"{sizes} unit{'s' * (sizes != '1')}{both}"
    return f"{task}{network['cell']}, {layers} of {units}, {network['parameters']} parameters"


def verdict(facts: Facts) -> str:
    """The verdict on the last layer, forwards where it has two directions, as a sentence."""
    return facts["verdict"]["text"][:1].upper() + facts["verdict"]["text"][1:] + "."


def lines(facts: Facts) -> list[str]:
    """The explanation for a terminal."""
    text_lines = [summary(facts), f"looked at: {facts['sample']['what']}", verdict(facts)]
    text_lines += [f"remark: {remark}" for remark in facts["remarks"]]
    text_lines += [f"memory {name}: {memory_text(memory)}" for name, memory in facts["memory"].items()]
    text_lines += [
        f"memory of {name}, {kind} of {size} weights: {steps} steps; its gradient {word}"
        for name, kind, size, steps, word in _compared(facts)
    ]
    text_lines.append(f"gradient from within: {shares_text(facts)}")
    text_lines += [f"{name}: {text}" for layer_facts in facts["values"] for name, text in _noted(layer_facts)]
    top = ", ".join(f"step {_step(one)} {_percent(one['share'])}" for one in facts["attribution"]["top"][:5])
    text_lines.append(f"what matters for {facts['attribution']['question']}: {top or _nothing(facts['attribution'])}")
    return [*text_lines, training_text(facts["training"])]


def remarks(facts: Facts) -> str:
    """What calls for doing something, as HTML."""
    return "".join(f'<p class="remark">{escape(one[:1].upper() + one[1:])}.</p>' for one in facts["remarks"])


def memory_text(memory: Facts) -> str:
    """An effective memory in words."""
    more = "" if memory["ended"] else " or more"
    units = memory["units"]
    return f"{memory['length']} steps{more}; of its units {min(units)} to {max(units)}, median {memory['median']:g}"


def shares_text(facts: Facts) -> str:
    """How much of the gradient comes from within how many steps."""
    shares = facts["shares"]
    pairs = list(zip(shares["within"], shares["projected"], strict=True))
    if shares["projected"][-1] is None:
        return NOTHING
    return ", ".join(f"{within} step{'s' * (within > 1)} {_percent(share)}" for within, share in pairs)


def training_text(training: Facts) -> str:
    """The health of a training in a line."""
    if not training["epochs"]:
        return "training: nothing is written of it"
    spikes, clipped, epochs = len(training["spikes"]), _percent(training["clipped"]), training["epochs"]
    of = f" of {training['planned']}" if training["planned"] not in (None, epochs) else ""
    said = f"training: {epochs}{of} epoch{'s' * (epochs > 1 or bool(of))}, {clipped} of its gradients clipped"
    return f"{said}, {spikes} spike{'s' * (spikes != 1)} of the loss"


def result(facts: Facts) -> str:
    """What the network makes of the sequence, as HTML."""
    shown = facts["result"]["shown"]
    said = shown.get("said", "")
    markup = [f"<h2>{escape(shown['title'])}</h2>", f"<p>{escape(said[:1].upper() + said[1:])}.</p>" if said else ""]
    markup += [f"<pre>{escape(shown['text'])}</pre>"] if "text" in shown else []
    markup += [table(shown["head"], shown["rows"])] if "rows" in shown else []
    return f"<section>{''.join(markup)}</section>"


def tables(facts: Facts) -> str:
    """The numbers as HTML."""
    attribution = facts["attribution"]
    top = [[_step(one), _percent(one["share"])] for one in attribution["top"]]
    bodies = {
        "Gradient by layer": _verdicts(facts),
        "Effective memory": table(
            ["measured", "steps", "of its units", "median"], [_memory_row(*pair) for pair in facts["memory"].items()]
        ),
        "Beside others": table(
            ["network", "cell", "weights", "memory by gradient, steps", "gradient"], _compared(facts)
        )
        if "compared" in facts
        else "",
        "Gradient from within so many steps": table(
            ["steps", "along the whole", "by norm"],
            [
                [str(within), _percent(along), _percent(norm)]
                for within, along, norm in zip(
                    *(facts["shares"][k] for k in ("within", "projected", "by_norm")), strict=True
                )
            ],
        ),
        f"Steps that matter for {attribution['question']}": table(["step", "share"], top)
        if top
        else f"<p>{_nothing(attribution).capitalize()}.</p>",
        "States, gates and candidates": _values(facts),
        "Training": f"<p>{escape(training_text(facts['training']))}.</p>" + _training(facts["training"]),
    }
    return "\n".join(f"<section><h2>{escape(head)}</h2>{body}</section>" for head, body in bodies.items() if body)


def _nothing(attribution: Facts) -> str:
    """Why no step matters: attribution is gradient times input, and one of them is 0."""
    return f"nothing, its {attribution['nothing']} is 0"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table that scrolls by itself where it is wider than the page."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _verdicts(facts: Facts) -> str:
    rows = [
        [_place(one), one["word"], _number(one["rate"]), "never" if one["distance"] is None else str(one["distance"])]
        for one in facts["verdicts"]
    ]
    return table(["layer", "verdict", "rate a step", "steps to a hundredth, or hundredfold"], rows)


def _memory_row(name: str, memory: Facts) -> list[str]:
    units = memory["units"]
    length = str(memory["length"]) + ("" if memory["ended"] else " or more")
    return [name, length, f"{min(units)} to {max(units)}", f"{memory['median']:g}"]


def cell(compared: Facts) -> str:
    """The cell of one of those compared, and whether it is as it began."""
    return ("fresh " if compared["fresh"] else "") + compared["cell"]


def _compared(facts: Facts) -> list[list[str]]:
    return [
        [
            *(one["name"], cell(one), str(one["parameters"])),
            str(one["length"]) + ("" if one["ended"] else " or more"),
            one["verdict"],
        ]
        for one in facts.get("compared", [])
    ]


def _values(facts: Facts) -> str:
    rows = [
        [f"{name}, {_place(layer_facts)}", _number(facts_of["mean"]),
         *(_percent(facts_of[k]) for k in ("saturated", "low", "high")),
         *(_units(facts_of[k], facts_of["units"]) for k in ("stuck", "dead"))]
        for layer_facts in facts["values"]
        for name, facts_of in layer_facts["names"].items()
    ]  # fmt: skip
    return table(["value", "mean", "saturated", "at its low end", "at its high end", "stuck units", "dead units"], rows)


def _training(training: Facts) -> str:
    rows = [[part, *(_number(n[k]) for k in ("first", "last", "median", "largest"))]
            for part, n in training["gradients"].items()]  # fmt: skip
    header = ["gradient norm of", "median in the first epoch", "in the last", "in all", "largest"]
    spikes = ", ".join(f"epoch {s['epoch']} step {s['step']}" for s in training["spikes"][:LISTED])
    return (table(header, rows) if rows else "") + (f"<p>Spikes: {spikes}.</p>" if spikes else "")


def _noted(layer_facts: Facts) -> list[tuple[str, str]]:
    """What of a layer's values calls for a remark: saturation, stuck and dead units."""
    notes = []
    for name, value in layer_facts["names"].items():
        said = [f"{_percent(value['saturated'])} saturated"] if value["saturated"] is not None else []
        said += [f"{k} {_units(value[k], value['units'])}" for k in ("stuck", "dead") if value[k]]
        if said:
            notes.append((f"{name}, {_place(layer_facts)}", ", ".join(said)))
    return notes


def _place(layer_facts: Facts) -> str:
    return f"layer {layer_facts['layer'] + 1}" + (", backwards" if layer_facts["direction"] else "")


def _units(units: Sequence[int], of: int) -> str:
    if not units:
        return "none"
    named = f" ({', '.join(map(str, units))})" if len(units) <= LISTED else ""
    return f"{len(units)} of {of}{named}"


def _step(one: Facts) -> str:
    return f"{one['step'] + 1}" + (f" {one['label']!r}" if "label" in one else "")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.3g} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
