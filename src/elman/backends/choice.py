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
_AUTO: tuple[Backend, ...] = (Cpu(), Fused(), Graphs(), Reference())
# Triton's kernels are taken where they are asked for: no card has measured them yet (docs/decisions/0018).
BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (*_AUTO, Triton())}


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
    if known(name) == "auto":
        return next(backend for backend in _AUTO if backend.refuses(call) is None)
    if reason := BACKENDS[name].refuses(call):
        raise BackendError(f"backend '{name}' {reason}; use backend='auto'")
    return BACKENDS[name]


def report(call: Call) -> dict[str, str]:
    """For each backend, ``"takes it"`` or the reason why it refuses ``call``."""
    return {name: backend.refuses(call) or "takes it" for name, backend in BACKENDS.items()}
