"""The processes that train one network together: started by ``torchrun``, joined by ``torch.distributed``.

Every rank runs the same program on the same data and draws the same batches; each computes its rows of a batch, and the
gradients are added up. What only one may do, such as writing the run, rank 0 does. A process that ``torchrun`` did not
start is rank 0 of one, and nothing here costs it anything.
"""

from __future__ import annotations

import atexit
import os
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from elman.errors import RankError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
S = TypeVar("S")
BEAT = 1.0  # seconds between two signs of life
GONE = 4.0  # seconds without one, after which a rank whose connection broke is known to be gone
LOST = 40.0  # seconds without one, after which a rank is given up though its connection stands
TIMEOUT = 5.0  # seconds, of one word with the store
LONG = timedelta(days=7)  # what torch may wait for: whether others are alive is found out here


class Ranks:
    """One process's view of those that train together: it is ``rank`` of ``count``."""

    def __init__(self, rank: int = 0, count: int = 1, signs: Signs | None = None):
        self.rank = rank
        self.count = count
        self._signs = signs
        self._apart = count == 1
        self._work: Any = None  # the exchange that is waited for

    @property
    def first(self) -> bool:
        """Say whether this is the rank that writes and speaks."""
        return self.rank == 0

    def agree(self, compute: Callable[[], T]) -> T:
        """Return what ``compute`` gives on rank 0, or raise what it raises there; on the others it is not called."""
        if self._apart:
            return compute()
        answer: tuple[bool, Any] = (False, None)
        if self.first:
            try:
                answer = (True, compute())
            except Exception as error:
                answer = (False, error)
        done, value = pickle.loads(self._broadcast(pickle.dumps(answer) if self.first else None, 0))
        if not done:
            raise value
        return value

    def share(self, items: Sequence[S], compute: Callable[[S], T]) -> list[T]:
        """Return ``compute`` of each of ``items``, in their order, each computed by one of the ranks.

        Tensors come back on the CPU, where there are several ranks.
        """
        if self._apart:
            return [compute(item) for item in items]
        own = [_on_cpu(compute(item)) for item in items[self.rank :: self.count]]
        each = [self._broadcast(pickle.dumps(own) if r == self.rank else None, r) for r in range(self.count)]
        by_rank = [pickle.loads(data) for data in each]
        return [by_rank[i % self.count][i // self.count] for i in range(len(items))]

    def chunk(self, count: int, most: int) -> int:
        """Return how many of ``count`` rows to compute at once: ``most``, or fewer, so that no rank is without any."""
        return most if self._apart else max(1, min(most, -(-count // self.count)))

    def add_up(self, parameters: Sequence[Tensor], loss: float, passed: float) -> tuple[float, float]:
        """Add up the gradients of all ranks, in place; return the sum of ``loss``, and what ``passed`` is on rank 0.

        A parameter that has a gradient on no rank has none afterwards.
        """
        if self._apart:
            return loss, passed
        import torch

        dtype = torch.float64 if any(p.dtype == torch.float64 for p in parameters) else torch.float32
        used = [p.grad is not None for p in parameters]
        facts = [*map(float, used), loss, passed if self.first else 0.0]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([*(g.reshape(-1).to(dtype) for g in grads), grads[0].new_tensor(facts, dtype=dtype)])
        self._wait(self._distributed().all_reduce(flat, async_op=True))
        *sums, said = flat.split([*(g.numel() for g in grads), len(facts)])
        *counts, loss, passed = said.tolist()
        for parameter, grad, total, users in zip(parameters, grads, sums, counts, strict=True):
            parameter.grad = grad.copy_(total.view_as(grad)) if users else None
        return loss, passed

    def align(self, tensors: Iterable[Tensor]) -> None:
        """Give every rank the values that ``tensors`` have on rank 0."""
        if self._apart:
            return
        for tensor in tensors:
            value = tensor.detach().contiguous()
            self._wait(self._distributed().broadcast(value, 0, async_op=True))
            if value.data_ptr() != tensor.data_ptr():
                tensor.detach().copy_(value)

    def leave(self) -> str:
        """Go on alone, as one who was interrupted; return which ranks were lost before, in words."""
        if self._apart:
            return ""
        assert self._signs is not None
        self._go_apart(130)
        return self._signs.missing(until_all_stop=True)

    def _distributed(self) -> Any:
        import torch.distributed

        return torch.distributed

    def _broadcast(self, data: bytes | None, source: int) -> bytes:
        """Bring ``data`` from one rank to all."""
        import torch

        length = torch.tensor([0 if data is None else len(data)])
        self._wait(self._distributed().broadcast(length, source, async_op=True))
        if data is None:
            content = torch.empty(int(length), dtype=torch.uint8)
        else:
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        self._wait(self._distributed().broadcast(content, source, async_op=True))
        return content.numpy().tobytes()

    def _wait(self, work: Any) -> None:
        """Wait for a collective as long as all ranks give signs of life.

        Raises :class:`RankError` naming those that do not, and ``KeyboardInterrupt`` where one was interrupted.
        """
        assert self._signs is not None
        self._work = work
        while True:
            try:
                work.wait(timedelta(seconds=BEAT))
                self._work = None
                return
            except RuntimeError as error:
                words = self._signs.missing() if work.is_completed() else self._signs.lost(LOST)
                if words or work.is_completed() or self._signs.stopped():
                    self._give_up(words, error)

    def _go_apart(self, code: int) -> None:
        """Exchange nothing more; the process ends with ``code`` where torch would go on waiting."""
        assert self._signs is not None
        self._apart = True
        self._signs.stop()
        if self._work is not None:
            atexit.register(_vanish, code)

    def _give_up(self, words: str, error: RuntimeError) -> None:
        assert self._signs is not None
        if self._signs.stopped():
            self._go_apart(130)
            raise KeyboardInterrupt
        self._go_apart(2)
        raise RankError(
            f"{words or f'a rank was lost: {error}'}; this is rank {self.rank} of {self.count}, which stops too: "
            "go on with `resume`"
        ) from error


class Signs(threading.Thread):
    """The signs of life of all ranks, in the store that ``torch.distributed`` keeps."""

    def __init__(self, store: Any, rank: int, count: int):
        super().__init__(daemon=True, name="elman-signs")
        self._store = store
        self._rank = rank
        self._began = self._heard = time.monotonic()
        self._signs = dict.fromkeys(range(count), (0, self._began))  # the number of each, and since when it stands
        self._stopped = [False] * count
        self._stops = False
        self._ended = threading.Event()
        self._names = ["" for _ in range(count)]
        store.set(f"name/{rank}", f"process {os.getpid()} on {socket.gethostname()}")

    def run(self) -> None:
        """Give a sign, and look for those of the others, once every BEAT."""
        while not self._ended.is_set():
            try:
                self._store.add(f"sign/{self._rank}", 1)
                if self._stops:
                    self._store.add(f"stopped/{self._rank}", 1)
                for r, (number, _) in self._signs.items():
                    if not self._names[r] and self._store.check([f"name/{r}"]):
                        self._names[r] = self._store.get(f"name/{r}").decode()
                    now = self._store.add(f"sign/{r}", 0)
                    if now != number:
                        self._signs[r] = (now, time.monotonic())
                    self._stopped[r] = self._store.add(f"stopped/{r}", 0) > 0
                self._heard = time.monotonic()
            except RuntimeError:  # the store cannot be reached, now or any more
                pass
            self._ended.wait(BEAT / (5 if self._stops else 1))

    def lost(self, seconds: float) -> str:
        """Name the ranks that gave no sign for so many ``seconds``; empty where all did."""
        now = time.monotonic()
        if now - self._heard > seconds:
            where = f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')}"
            return f"rank 0 ({self._names[0] or '?'}) or the way to it ({where}) was lost"
        gone = [r for r, (_, since) in self._signs.items() if now - since > seconds and not self._stopped[r]]
        return ", ".join(f"rank {r} ({self._names[r] or 'it never came'}) was lost" for r in gone)

    def missing(self, until_all_stop: bool = False) -> str:
        """Wait until it is known which ranks are gone, or that one has stopped on purpose, or all have."""
        until = time.monotonic() + 3 * GONE
        while time.monotonic() < until:
            if all(self._stopped) if until_all_stop else any(self._stopped):
                return ""
            if words := self.lost(GONE):
                return words
            time.sleep(BEAT / 10)
        return ""

    def stopped(self) -> bool:
        """Say whether another rank has stopped on purpose."""
        return any(stopped for r, stopped in enumerate(self._stopped) if r != self._rank)

    def stop(self) -> None:
        """Tell the others that this rank stops on purpose."""
        self._stops = True

    def end(self) -> None:
        """Give no more signs: Python must not end while a thread of it waits for the store."""
        self._ended.set()
        self.join(2 * TIMEOUT)


ALONE = Ranks()
_joined: Ranks | None = None


def number() -> int:
    """Return the rank of this process, without joining the others: 0 where ``torchrun`` did not start it."""
    return int(os.environ.get("RANK", "0")) if started() else 0


def restarted() -> bool:
    """Say whether ``torchrun`` started this process anew, after another was lost."""
    return started() and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def started() -> bool:
    """Say whether `torchrun` started this process as one of several."""
    wanted = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return all(name in os.environ for name in wanted) and int(os.environ["WORLD_SIZE"]) > 1


def ranks() -> Ranks:
    """Return this process's ranks, joining the others where ``torchrun`` started several.

    They exchange what is on a GPU by nccl, all else by gloo.

    >>> ranks().count
    1
    """
    global _joined
    if _joined is None:
        _joined = _join() if started() else ALONE
    return _joined


def _join() -> Ranks:
    import torch
    import torch.distributed as distributed

    store, rank, count = next(distributed.rendezvous("env://", timeout=timedelta(minutes=5)))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # the store outlives what was lost
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    if not distributed.is_initialized():
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=distributed.PrefixStore(f"elman/{attempt}", store), rank=rank, world_size=count, timeout=LONG,
        )  # fmt: skip
    own = store.clone()
    own.set_timeout(timedelta(seconds=TIMEOUT))
    signs = Signs(distributed.PrefixStore(f"signs/{attempt}", own), rank, count)
    signs.start()
    joined = Ranks(rank, count, signs)
    atexit.register(_part, joined)
    return joined


def _part(joined: Ranks) -> None:
    """Leave the group when the process ends; one that is broken is left as it is."""
    import torch.distributed as distributed

    assert joined._signs is not None
    joined._signs.end()
    if not joined._apart and distributed.is_initialized():
        distributed.destroy_process_group()


def _vanish(code: int) -> None:
    """End the process though torch still waits for another rank, which it would do for days."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _on_cpu(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, tuple | list):
        return type(value)(_on_cpu(one) for one in value)
    return value
