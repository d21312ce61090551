"""What each picture of a report shows, what is normal, and what to do when it is not."""

from __future__ import annotations

# By how a caption begins.
LESSONS = {
    "Which steps matter": (
        "A line is a step; the taller, the more it contributes to the answer (gradient times input, absolute).",
        "For a forecast the last steps and those one season back stand out; for a text the words that decide.",
        "If only the last step counts, the network repeats it; if all count the same, it has not found what matters: "
        "train longer, or give it a longer context.",
    ),
    "How much of each step's loss": (
        "Row t, column k: how strongly the loss of step t pulls at the state of step k. The diagonal is the present.",
        "Bright near the diagonal, fading slowly to the left. A fade by 1000 within ten steps: what lies further back "
        "cannot be learned.",
        "If it fades fast, use lstm or gru with a forget bias of 1 or more, or orthogonal weights. If it grows to the "
        "left, the gradient bursts: clip it, or lower the learning rate.",
    ),
    "How far back an input": (
        "How much the last output moves when the input of d steps before it moves.",
        "A curve that falls, with a bump at each season. Where it reaches the noise the memory ends.",
        "If the memory is shorter than the dependence you know of, take a cell with more memory; if it is far longer "
        "than the data needs, a smaller network will do.",
    ),
    "From within how many steps": (
        "How much of the gradient of the weights comes from the last 1, 2, 3, ... steps.",
        "It rises to 1. Where it is 1 already, longer pieces of training teach nothing more.",
        "If ten steps give everything, back-propagation over a hundred is wasted time, or the gradient vanishes: "
        "compare with the picture of the gradient.",
    ),
    "States, gates and candidates": (
        "Each row of a panel is a unit, each column a step; gates go from 0 (shut) to 1 (open).",
        "Gates that open and shut with the data; states that use their range without sticking at its ends.",
        "A gate that is always open or always shut is a unit wasted: lower the learning rate, normalise the input, or "
        "take fewer units.",
    ),
    "Effective memory by gradient, beside": (
        "The memory of this network beside that of others.",
        "A trained network remembers longer than a fresh one of its size, where the data rewards it.",
        "If a fresh cell remembers longer, training has made the network forget: look at its forget gates.",
    ),
    "Gradient flow, beside": (
        "The picture of the gradient of each network, on one scale of colours: row t is the loss, column k the state.",
        "A gated cell stays bright further to the left than a plain one of its size.",
        "If all fade alike, the cell is not what limits the memory: look at the data, or at the length of the context.",
    ),
    "From within how many steps the gradient comes, beside": (
        "How much of the gradient of the weights comes from the last 1, 2, 3, ... steps, of each network.",
        "The curve of a network that learns from further back rises later.",
        "If a smaller network rises as late as a larger one, take the smaller.",
    ),
    "The text, coloured": (
        "Each character on the colour of one unit's value: blue is above zero, orange below.",
        "Units that follow something you can name: a quotation, a line, a vowel. Most follow a mixture.",
        "Choose other units in the stepper above.",
    ),
}


def lesson(caption: str) -> tuple[str, str, str] | None:
    """What the picture of a caption shows, what is normal and what to do; None for a picture of one's own.

    >>> lesson("States, gates and candidates over time")[0][:17]
    'Each row of a pan'
    """
    fitting = [begins for begins in LESSONS if caption.startswith(begins)]
    return LESSONS[max(fitting, key=len)] if fitting else None
