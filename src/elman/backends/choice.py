"""Which backend runs a call, and why."""

from __future__ import annotations

from elman.backends.contract import Backend, Call
from elman.backends.cpu import Cpu
from elman.backends.forks import one_thread_after_fork
from elman.backends.fused import Fused
from elman.backends.graphs import Graphs
from elman.backends.reference import Reference
from elman.backends.triton import Triton
from elman.errors import BackendError, nearest

# Fastest first: "auto" takes the first that does not refuse.
BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (Cpu(), Fused(), Triton(), Graphs(), Reference())}
BY_NAME = ("triton",)  # taken where it is asked for alone: no card has measured it yet (docs/decisions/0018)


def known(name: str) -> str:
    """``name`` if it is a backend or ``auto``; raises :class:`BackendError` otherwise."""
    if name != "auto" and name not in BACKENDS:
        raise BackendError(f"there is no backend {name!r}; {nearest(name, ['auto', *BACKENDS])}")
    return name


def choose(call: Call, name: str = "auto") -> Backend:
    """Choose the backend for ``call``.

    The one that is named, or with ``auto`` the fastest that does not refuse.

    Raises :class:`BackendError` with the reason where the one named refuses.
    """
    one_thread_after_fork()
    if name == "auto":
        for key, backend in BACKENDS.items():
            if key not in BY_NAME and backend.refuses(call) is None:
                return backend
    known(name)
    if reason := BACKENDS[name].refuses(call):
        raise BackendError(f"backend '{name}' {reason}; use backend='auto'")
    return BACKENDS[name]


def report(call: Call) -> dict[str, str]:
    """For each backend, ``"takes it"`` or the reason why it refuses ``call``."""
    return {name: backend.refuses(call) or "takes it" for name, backend in BACKENDS.items()}
