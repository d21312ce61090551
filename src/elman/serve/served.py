"""A run that is served: its job, its streams, and what waits to be computed together."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elman import jobs
from elman.errors import ElmanError
from elman.stepping.model import Model
from elman.stepping.stream import Stream

# All that torch computes runs on one thread: two at once on few cores take far longer than one after the other.
COMPUTING = ThreadPoolExecutor(1, thread_name_prefix="elman")
AT_ONCE = 64  # requests computed together
INLINE = 0.002  # seconds that a push may take on the thread that answers; what takes longer waits on the other


Question = tuple[Callable[[Any], Any], Any]  # a function, and what it is asked of


class Together:
    """Answers what waits in one go: each round takes all that came while the one before was computed."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Question, asyncio.Future[Any]]] = []
        self._worker: asyncio.Task[None] | None = None  # held: a task that nobody holds may be forgotten

    async def ask(self, function: Callable[[Any], Any], what: Any) -> Any:
        """``function(what)``. Raises what it raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(((function, what), answer))
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            now, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            answers = await loop.run_in_executor(COMPUTING, _answers, [question for question, _ in now])
            for (_, future), answer in zip(now, answers, strict=True):
                if future.done():  # who asked has gone
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)


def _answers(questions: list[Question]) -> list[Any]:
    """What each function says, or what it raises: one bad question must not spoil the others."""
    answers: list[Any] = []
    for function, what in questions:
        try:
            answers.append(function(what))
        except Exception as error:
            answers.append(error)
    return answers


@dataclass
class Session:
    """A stream of one run, and when it was last used."""

    run: str
    stream: Stream
    seconds: float  # that a push takes
    used: float = field(default_factory=time.monotonic)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def push(self, values: Sequence[Any]) -> list[Any]:
        """What the network says to each of ``values``, in order."""
        async with self.lock:
            self.used = time.monotonic()
            if self.seconds * len(values) < INLINE:
                return self._push(values)
            return await asyncio.get_running_loop().run_in_executor(COMPUTING, self._push, values)

    def _push(self, values: Sequence[Any]) -> list[Any]:
        answers = []
        for value in values:
            said = self.stream.push(value)
            answers.append(None if said is None else said.tolist())
        return answers


class Served:
    """A run by its name, loaded. Raises :class:`RunError` for what is no run."""

    def __init__(self, path: str | Path, name: str = "") -> None:
        self.name: str = name or Path(path).resolve().name
        self.job: Any = jobs.load(path)
        self.task: Any = self.job.task_name()
        self.refusal = ""
        self.model: Model | None = None
        self._seconds = 0.0
        try:
            self.model = self.job.portable()
            self._seconds = self._timed(self.model)
        except ElmanError as error:
            self.refusal = str(error)
        self.together: Together = Together()

    @staticmethod
    def _timed(model: Model) -> float:
        """Seconds that a push takes, its first step left out."""
        stream, start = Stream(model), time.perf_counter()
        for value in model.example[: model.context + 2]:
            start = time.perf_counter()
            stream.push(value)
        return time.perf_counter() - start

    def session(self) -> Session:
        """A new stream. Raises :class:`ElmanError` where the network has no step."""
        if self.model is None or self.refusal:
            raise ElmanError(f"run '{self.name}' has no sessions: {self.refusal}")
        return Session(self.name, Stream(self.model), self._seconds)

    def facts(self) -> dict[str, Any]:
        """What a client should know of it."""
        model = self.model
        facts: dict[str, Any] = {"run": self.name, "task": self.task, "cell": self.job.network.cell}
        if model is not None:
            facts |= {"columns": list(model.columns), "context": model.context, "horizon": model.horizon}
            facts |= {"classes": list(model.classes), "symbols": len(model.tokens)}
        return facts | {"sessions": self.refusal or "yes"}


class Sessions:
    """The sessions that are open, by a name nobody can guess."""

    def __init__(self, most: int, idle: float) -> None:
        self.most: int = most
        self.idle: float = idle
        self._open: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def add(self, session: Session) -> str | None:
        """Keep a session; its name, or None where there are too many."""
        if len(self._open) >= self.most:
            self._close_idle()
        if len(self._open) >= self.most:
            return None
        name = secrets.token_urlsafe(12)
        self._open[name] = session
        return name

    def get(self, name: str) -> Session | None:
        """The session of that name, where it is still open."""
        session = self._open.get(name)
        if session is None or time.monotonic() - session.used <= self.idle:
            return session
        self.close(name)
        return None

    def close(self, name: str) -> bool:
        """Close a session; whether it was open."""
        return self._open.pop(name, None) is not None

    def _close_idle(self) -> None:
        late = time.monotonic() - self.idle
        self._open = {name: session for name, session in self._open.items() if session.used > late}
