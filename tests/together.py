"""Programs of a grid that wait for each other, interpreted: Triton's interpreter runs one after the other to its end.

Here those that share rows run as threads, one at a time, and each hands over to the next where it meets the others.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import triton.language as tl  # noqa: F401 (the interpreter asks that a kernel's module has it)
from triton.runtime import interpreter

from elman.backends.triton import functions


class Turns:
    """Whose turn it is; programs take turns in order, from one meeting to the next."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.turn = 0
        self.done: set[int] = set()
        self.changed = threading.Condition()

    def wait(self, number: int) -> None:
        """Wait for program ``number``'s turn."""
        with self.changed:
            self.changed.wait_for(lambda: self.turn == number)

    def hand_over(self, number: int, done: bool = False) -> None:
        """Give the turn to the next program that has not ended."""
        with self.changed:
            if done:
                self.done.add(number)
            following = [n % self.count for n in range(number + 1, number + 1 + self.count)]
            self.turn = next((n for n in following if n not in self.done), -1)
            self.changed.notify_all()


def side_by_side(body: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel's body that, run for the first program of a row of the grid, runs all of that row."""

    @functools.wraps(body)
    def run(**arguments: Any) -> None:
        builder = interpreter.interpreter_builder
        group, first, rest = builder.grid_idx
        if first:
            return
        turns, failures = Turns(builder.grid_dim[1]), []

        def program(number: int) -> None:
            CURRENT[threading.get_ident()] = (turns, (group, number, rest))
            turns.wait(number)
            builder.set_grid_idx(group, number, rest)
            try:
                body(**arguments)
            except BaseException as error:
                failures.append(error)
            turns.hand_over(number, done=True)

        threads = [threading.Thread(target=program, args=(n,)) for n in range(turns.count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    run.__signature__ = inspect.signature(body)  # type: ignore[attr-defined]
    return run


class Executor(interpreter.GridExecutor):
    """Runs the programs of each row of a grid side by side."""

    def __init__(self, fn: Callable[..., Any], *args: Any, **options: Any) -> None:
        super().__init__(fn, *args, **options)
        self.fn = side_by_side(fn)


CURRENT: dict[int, tuple[Turns, tuple[int, int, int]]] = {}  # by thread


def meet(arrived: Any, count: Any) -> None:
    """Let every other program come as far as this one."""
    turns, place = CURRENT[threading.get_ident()]
    turns.hand_over(place[1])
    turns.wait(place[1])
    interpreter.interpreter_builder.set_grid_idx(*place)


@contextmanager
def together() -> Iterator[None]:
    """Have kernels that are made in here run that way."""
    own, executor = functions.FUNCTIONS["meet"], interpreter.GridExecutor
    functions.FUNCTIONS["meet"], interpreter.GridExecutor = meet, Executor
    try:
        yield
    finally:
        functions.FUNCTIONS["meet"], interpreter.GridExecutor = own, executor
