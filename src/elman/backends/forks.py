"""After a fork, OpenMP's threads are gone: whatever asks for them in the child hangs, torch.mm as well as a kernel.

The first use of Elman in a forked child sets torch to one thread there, which asks for none.
"""

from __future__ import annotations

import os

import torch

_just_forked = False


def _note_fork() -> None:
    global _just_forked
    _just_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def one_thread_after_fork() -> None:
    """Set torch to one thread, once, where this process is a forked child."""
    global _just_forked
    if _just_forked:
        _just_forked = False
        torch.set_num_threads(1)
