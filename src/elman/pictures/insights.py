"""Pictures of what a network remembers: its gradient flow, its memory, its gates, and where its gradient comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.insight import Activity, Memory, Shares
from elman.pictures.figures import figure, grid, numbers, save, short

# A gradient below this share of the largest is drawn as this: the colours are for what can be told apart.
FAINTEST = 1e-12
# Lines that can be told apart by people who do not see all colours (Okabe & Ito 2008).
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1f2937", "#f0e442"]
STYLES = ["-", "--", "-.", ":"]
MISSING = "#e5e7eb"
NAMED, NOTABLE = 4, 0.1  # steps of an attribution that are named: so many, of at least this share of the largest


def draw_gradient_flow(path: str | Path, heat: Any, title: str, state: str = "h", first: int = 1) -> Path:
    """Draw the gradient flow ||dL_t/ds_k|| (T, T) as a heat map.

    Row t and column k, on a logarithmic scale; grey where it is 0.

    ``first`` is what the first step is called. Where one step alone has a loss, its row is drawn as a line.
    """
    from matplotlib.colors import LogNorm

    values = numbers(heat)
    lost = np.flatnonzero(values.any(axis=1))
    if len(lost) == 1 < len(values):
        return _draw_one_loss(path, values[lost[0]], int(lost[0]) + first, title, state, first)
    shown = np.ma.masked_equal(values, 0.0)
    largest = float(shown.max()) if shown.count() else 1.0
    smallest = max(float(shown.min()), FAINTEST * largest) if shown.count() else 0.1
    drawn, (axis,) = figure(1, height=5.2)
    span = _steps(values, first)
    image = axis.imshow(
        shown.clip(smallest), cmap=_colours("viridis"), norm=LogNorm(min(smallest, largest / 10), largest),
        origin="upper", interpolation="nearest", aspect="auto", extent=(*span, *span[::-1]),
    )  # fmt: skip
    axis.set_xlabel(f"step k of the state {state}")
    axis.set_ylabel("step t of the loss")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_title(short(title, 90), parse_math=False)
    clipped = shown.count() and float(shown.min()) < smallest
    drawn.colorbar(image, ax=axis, label=f"‖∂Lₜ / ∂{state}ₖ‖", extend="min" if clipped else None)
    return save(drawn, path)


def draw_gradient_flows(path: str | Path, heats: Mapping[str, Any], title: str) -> Path:
    """Draw the gradient flows (T, T) of several networks side by side.

    Each ||dL_t/ds_k|| is relative to its largest.

    Where one step alone has a loss, a line per network shows how it falls with the distance.
    """
    values = {name: numbers(heat) for name, heat in heats.items()}
    values = {name: heat / (heat.max() or 1.0) for name, heat in values.items()}
    if all(heat.any(axis=1).sum() <= 1 for heat in values.values()):
        return _draw_last_losses(path, {name: heat.max(axis=0)[::-1] for name, heat in values.items()}, title)
    from matplotlib.colors import LogNorm

    columns = min(len(values), 3)
    rows = -(-len(values) // columns)
    drawn, axes = grid(rows, columns)
    for axis, (name, heat) in zip(axes, values.items(), strict=False):
        shown = np.ma.masked_equal(heat, 0.0).clip(FAINTEST)
        span = _steps(heat, 1)
        image = axis.imshow(
            shown, cmap=_colours("viridis"), norm=LogNorm(FAINTEST, 1.0), origin="upper", interpolation="nearest",
            aspect="auto", extent=(*span, *span[::-1]),
        )  # fmt: skip
        axis.set_title(short(name, 90 // columns), fontsize="medium", parse_math=False)
        axis.set_xlabel("step k of the state")
        axis.set_ylabel("step t of the loss")
    for axis in axes[len(values) :]:
        axis.set_axis_off()
    drawn.suptitle(short(title, 90), parse_math=False)
    drawn.colorbar(image, ax=axes.tolist(), label="‖∂Lₜ / ∂sₖ‖, of its largest")
    return save(drawn, path)


def _draw_last_losses(path: str | Path, norms: Mapping[str, NDArray[np.float64]], title: str) -> Path:
    """Draw ||dL/ds_k|| (T,) of the last step's loss by distance, one line per network."""
    drawn, (axis,) = figure(1, height=3.6)
    for i, (name, values) in enumerate(norms.items()):
        style = STYLES[i // len(COLOURS) % len(STYLES)]
        axis.plot(np.ma.masked_less(values, FAINTEST), style, color=COLOURS[i % len(COLOURS)], label=short(name, 48))
    axis.set_yscale("log")
    axis.set_xlabel("distance of the state from the loss (steps)")
    axis.set_ylabel("‖∂L / ∂sₖ‖, of its largest")
    axis.set_title(short(title, 90), parse_math=False)
    axis.grid(alpha=0.25)
    drawn.legend(frameon=False, loc="outside lower center", ncols=2)
    return save(drawn, path)


def _steps(values: NDArray[np.float64], first: int) -> tuple[float, float]:
    """From where to where an axis goes on which the first of T steps is called ``first``."""
    return first - 0.5, first + values.shape[-1] - 0.5


def _draw_one_loss(path: str | Path, norms: NDArray[np.float64], step: int, title: str, state: str, first: int) -> Path:
    """Draw ||dL_t/ds_k|| (T,) of one step t over k; what is 0 is left out."""
    drawn, (axis,) = figure(1, height=3.2)
    axis.plot(
        np.arange(first, first + len(norms)), np.ma.masked_equal(norms, 0.0), "o-", markersize=3, color=COLOURS[0]
    )
    axis.set_yscale("log")
    axis.set_ylim(max(norms[norms > 0].min(), FAINTEST * norms.max()) / 2, 2 * norms.max())
    axis.set_xlim(_steps(norms, first))
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel(f"step k of the state {state}")
    axis.set_ylabel(f"‖∂Lₜ / ∂{state}ₖ‖, t = {step}")
    axis.set_title(short(title, 90), parse_math=False)
    axis.grid(alpha=0.25)
    return save(drawn, path)


def draw_attribution(path: str | Path, mass: Any, title: str, labels: Sequence[str] = ()) -> Path:
    """Draw how much each step (T,) contributes to an output, as upright lines.

    The largest are named, by step from 1.

    ``labels`` (T,) are said beside the number. A share that is no number, of an output that nothing moves, is none.
    """
    shares = np.nan_to_num(numbers([math.nan if share is None else share for share in mass]))
    steps = np.arange(1, len(shares) + 1)
    drawn, (axis,) = figure(1, height=2.6)
    axis.vlines(steps, 0, 100 * shares, color=COLOURS[0], linewidth=max(0.4, min(4.0, 400 / len(shares))))
    axis.set_ylim(0, 125 * shares.max() or 100)  # room for names
    axis.set_xlim(0.5, len(shares) + 0.5)
    for step in _apart(shares):
        label = f" {short(labels[step], 12)!r}" if labels else ""
        side = "left" if step < len(shares) / 12 else "right" if step > len(shares) * 11 / 12 else "center"
        axis.annotate(f"{step + 1}{label}: {100 * shares[step]:.3g} %", (step + 1, 100 * shares[step]), xytext=(0, 3),
                      textcoords="offset points", ha=side, fontsize=9, parse_math=False)  # fmt: skip
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("step t of the input, from 1")
    axis.set_ylabel("share of the step (%)")
    axis.set_title(short(title, 90), parse_math=False)
    axis.grid(alpha=0.25)
    return save(drawn, path)


def _apart(shares: NDArray[np.float64]) -> list[int]:
    """The largest few of ``shares`` (T,), so far from each other that their names do not meet."""
    steps: list[int] = []
    for step in np.argsort(-shares, kind="stable").tolist():
        if shares[step] <= NOTABLE * shares.max() or len(steps) == NAMED:
            break
        if all(abs(step - other) >= len(shares) / 8 for other in steps):
            steps.append(step)
    return steps


def draw_memories(path: str | Path, memories: Mapping[str, Memory], title: str) -> Path:
    """Draw how far back an input moves the output, one line per network.

    And where the effective length of each ends.
    """
    drawn, (axis,) = figure(1, height=4.0)
    for i, (name, memory) in enumerate(memories.items()):
        influence = numbers(memory.influence)
        relative = np.ma.masked_equal(influence, 0.0) / (influence.max() or 1.0)
        ends = f"{memory.length} steps" if memory.seen else f"{memory.length} steps or more"
        colour, style = COLOURS[i % len(COLOURS)], STYLES[i // len(COLOURS) % len(STYLES)]
        axis.plot(relative, style, color=colour, linewidth=1.6, label=f"{short(name, 48)}: {ends}")
        axis.plot([memory.length], relative[memory.length : memory.length + 1], "o", color=colour, markersize=5)
    threshold = next(iter(memories.values())).threshold
    axis.axhline(threshold, color="#6b7280", linewidth=1, linestyle=":")
    axis.annotate(f"{threshold:g}", (1.0, threshold), xycoords=("axes fraction", "data"), xytext=(4, 0),
                  textcoords="offset points", va="center", color="#6b7280", annotation_clip=False)  # fmt: skip
    axis.set_yscale("log")
    axis.set_ylim(threshold / 100, 2)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("distance d of the input from the last output (steps)")
    axis.set_ylabel("influence on the last output\n(relative to its largest)")
    axis.set_title(short(title, 90), parse_math=False)
    axis.grid(alpha=0.25)
    drawn.legend(frameon=False, title="effective memory", loc="outside lower center", ncols=2)
    return save(drawn, path)


def draw_activity(path: str | Path, values: Mapping[str, Activity], title: str, row: int = 0, first: int = 1) -> Path:
    """Draw named values of one row over time, one panel each.

    Units stand under each other; gates go from 0 to 1.

    ``first`` is what the first step is called.
    """
    drawn, axes = figure(len(values), height=1.5)
    for axis, (name, activity) in zip(axes, values.items(), strict=True):
        shown = numbers(activity.values[:, row]).T
        over = numbers(activity.running[:, row]) == 0
        low, high, colours = _scale(activity, shown)
        image = axis.imshow(
            np.ma.masked_where(np.broadcast_to(over, shown.shape), shown),
            cmap=_colours(colours), vmin=low, vmax=high, aspect="auto", interpolation="nearest",
            extent=(*_steps(shown, first), len(shown) - 0.5, -0.5),
        )  # fmt: skip
        axis.set_ylabel(f"{short(name, 20)}\nunit", parse_math=False)
        axis.yaxis.get_major_locator().set_params(integer=True, nbins=4)
        drawn.colorbar(image, ax=axis, pad=0.01, aspect=8)
    axes[0].set_title(short(title, 90), parse_math=False)
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    axes[-1].set_xlabel("step t")
    return save(drawn, path)


def _scale(activity: Activity, shown: NDArray[np.float64]) -> tuple[float, float, str]:
    """From where to where the colours go, and which: one hue up from 0, two where values have both signs."""
    low, high = activity.bounds
    if activity.squashed and low >= 0:
        return low, high, "viridis"
    finite = shown[np.isfinite(shown)]
    largest = max(map(abs, activity.bounds)) if activity.squashed else float(np.abs(finite).max(initial=0.0)) or 1.0
    if low >= 0:
        return 0.0, largest, "viridis"
    return -largest, largest, "RdBu_r"


def draw_shares(path: str | Path, shares: Mapping[str, Shares], title: str) -> Path:
    """Draw how much of the gradient comes from nearby steps.

    By projection, one line per network.

    The dotted line is the share by norm, which passes 1 where paths cancel.
    """
    drawn, (axis,) = figure(1, height=3.6)
    for i, (name, of_parameter) in enumerate(shares.items()):
        colour = COLOURS[i % len(COLOURS)]
        axis.plot(
            of_parameter.within,
            numbers(of_parameter.projected()),
            "o-",
            color=colour,
            markersize=4,
            label=short(name, 30),
        )
        axis.plot(of_parameter.within, numbers(of_parameter.by_norm()), ":", color=colour, linewidth=1.2)
    axis.plot([], [], ":", color="#6b7280", label="by norm")
    axis.axhline(1.0, color="#6b7280", linewidth=0.8)
    axis.set_xscale("log")
    ticks = sorted({w for of_parameter in shares.values() for w in of_parameter.within})
    kept = [w for i, w in enumerate(ticks) if i == 0 or w == ticks[-1] or math.log(ticks[-1] / w) > 0.25]
    axis.set_xticks(kept, [str(w) for w in kept])
    axis.minorticks_off()
    axis.set_xlabel("paths of at most this many steps, the loss's own counted (steps)")
    axis.set_ylabel("share of the whole gradient")
    axis.set_title(short(title, 90), parse_math=False)
    axis.grid(alpha=0.25)
    drawn.legend(frameon=False, loc="outside lower center", ncols=3)
    return save(drawn, path)


def _colours(name: str) -> Any:
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=MISSING)
