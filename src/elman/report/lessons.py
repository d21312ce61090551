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
    return next((said for begins, said in LESSONS.items() if caption.startswith(begins)), None)
