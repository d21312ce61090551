"""The server: what it answers, and what it refuses."""

import asyncio
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from fastapi import Depends, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elman import __version__
from elman.choices.serve import Limits
from elman.errors import ElmanError
from elman.serve.asked import (
    Classes,
    ClassifyAsked,
    Forecast,
    ForecastAsked,
    GenerateAsked,
    Opened,
    PushAsked,
    Refused,
    Said,
)
from elman.serve.served import COMPUTING, Served, Session, Sessions

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)  # seconds
REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Refused} for code in (400, 401, 404, 405, 413, 422, 429, 503)
}


class TooMuch(Exception):
    """A request larger than the limit."""


class BodyLimit:
    """Refuses a body as soon as it is longer than ``most`` bytes, whatever its header says."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        read, begun = 0, False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most:
                raise TooMuch
            return message

        async def noticed(message: Message) -> None:
            nonlocal begun
            if read > self.most and not begun:
                return  # what reads the body makes an answer of its own of the exception
            begun = True
            await send(message)

        with suppress(TooMuch):
            await self.app(scope, counted, noticed)
        if read > self.most and not begun:
            answer = refusal(413, f"the request is longer than {self.most} bytes; send less at once")
            await answer(scope, receive, send)


def refusal(code: int, error: str) -> JSONResponse:
    """An answer that says why not."""
    return JSONResponse({"error": error}, status_code=code)


class Measured:
    """What Prometheus asks for: requests by path and code, and how long they took."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.buckets: Counter[float] = Counter()
        self.seconds, self.count = 0.0, 0

    def add(self, path: str, code: int, seconds: float) -> None:
        """Count a request."""
        self.requests[path, code] += 1
        self.seconds, self.count = self.seconds + seconds, self.count + 1
        for bound in BUCKETS:
            self.buckets[bound] += seconds <= bound

    def text(self, sessions: int) -> str:
        """The metrics as Prometheus reads them."""
        lines = ["# TYPE elman_requests_total counter"]
        lines += [f'elman_requests_total{{path="{p}",code="{c}"}} {n}' for (p, c), n in sorted(self.requests.items())]
        lines.append("# TYPE elman_request_seconds histogram")
        lines += [f'elman_request_seconds_bucket{{le="{bound}"}} {self.buckets[bound]}' for bound in BUCKETS]
        lines += [f'elman_request_seconds_bucket{{le="+Inf"}} {self.count}']
        lines += [f"elman_request_seconds_sum {self.seconds}", f"elman_request_seconds_count {self.count}"]
        lines += ["# TYPE elman_sessions gauge", f"elman_sessions {sessions}"]
        return "\n".join(lines) + "\n"


def application(runs: Mapping[str, Served], limits: Limits | None = None, token: str = "") -> FastAPI:
    """The server of ``runs`` by name. With a ``token`` every request must carry it (``Authorization: Bearer ...``)."""
    limits = limits or Limits.model_validate({})
    sessions, measured = Sessions(limits.sessions, limits.idle), Measured()
    app = FastAPI(title="Elman", version=__version__, description="Recurrent networks, trained.", responses=REFUSALS)

    async def allowed(request: Request) -> None:
        given = request.headers.get("authorization", "")
        if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise HTTPException(401, "a token is wanted: Authorization: Bearer TOKEN")

    guarded = [Depends(allowed)]

    def run_named(name: str, task: str = "") -> Served:
        if name not in runs:
            raise HTTPException(404, f"there is no run '{name}'; there are {', '.join(runs)}")
        if task and runs[name].task != task:
            raise HTTPException(404, f"run '{name}' is of task '{runs[name].task}' and cannot {task}")
        return runs[name]

    def session_named(name: str) -> Session:
        session = sessions.get(name)
        if session is None:
            raise HTTPException(
                404,
                f"there is no session '{name}': it was closed, was idle too long, or the server began anew; open one",
            )
        return session

    def within(length: int, what: str) -> None:
        if length > limits.length:
            raise HTTPException(422, f"{what}: {length} are more than {limits.length} in one request")

    async def in_time(answer: Awaitable[Any]) -> Any:
        try:
            return await asyncio.wait_for(answer, limits.time)
        except TimeoutError:
            raise HTTPException(503, f"the answer took more than {limits.time:g} seconds") from None

    @app.middleware("http")
    async def _measure(request: Request, follow: Callable[[Request], Awaitable[Any]]) -> Any:
        start = time.perf_counter()
        answer = await follow(request)
        route = request.scope.get("route")
        measured.add(getattr(route, "path", "other"), answer.status_code, time.perf_counter() - start)
        return answer

    @app.exception_handler(RequestValidationError)
    async def _malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return refusal(422, _worded(error.errors()))

    @app.exception_handler(ElmanError)
    async def _elman(_: Request, error: ElmanError) -> JSONResponse:
        return refusal(422, str(error))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        return refusal(error.status_code, str(error.detail))

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the server answers."""
        return {"status": "ok", "version": __version__, "runs": list(runs), "sessions": len(sessions)}

    @app.get("/metrics", response_class=PlainTextResponse, dependencies=guarded)
    async def metrics() -> str:
        """Requests and sessions, as Prometheus reads them."""
        return measured.text(len(sessions))

    @app.get("/runs", dependencies=guarded)
    async def list_runs() -> list[dict[str, Any]]:
        """The runs that are served."""
        return [served.facts() for served in runs.values()]

    @app.post("/runs/{run}/forecast", dependencies=guarded)
    async def forecast(run: str, asked: ForecastAsked) -> Forecast:
        """Forecast a series: the one sent, or what follows the run's own."""
        served = run_named(run, "forecast")
        within(asked.steps or 1, "steps")

        def compute(what: ForecastAsked) -> Forecast:
            data = None if what.values is None else _columns(what.values, len(served.job.series.names))
            found = served.job.predict(what.steps or served.job.config.horizon, data, levels=what.levels)
            around = {
                f"{level:g}": {"low": (found.values - w).tolist(), "high": (found.values + w).tolist()}
                for level, w in found.widths.items()
            }
            dates = None if found.dates is None or data is not None else [str(date) for date in found.dates]
            names = list(found.names)
            return Forecast(columns=names, forecast=found.values.tolist(), dates=dates, intervals=around)

        return await in_time(served.compute(compute, asked))

    @app.post("/runs/{run}/classify", dependencies=guarded)
    async def classify(run: str, asked: ClassifyAsked) -> Classes:
        """Say the class of each sequence."""
        served = run_named(run, "classify")
        within(len(asked.sequences), "sequences")

        def compute(what: ClassifyAsked) -> Classes:
            sequences = [s if isinstance(s, str) else _columns(s, None) for s in what.sequences]
            found = served.job.predict(sequences)
            odds = np.asarray(found.probabilities).tolist()
            return Classes(classes=list(found.classes), labels=list(found.labels), probabilities=odds)

        return await in_time(served.compute(compute, asked))

    @app.post(
        "/runs/{run}/generate",
        dependencies=guarded,
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": "pieces of text, as they are written"}},
    )
    async def generate(run: str, asked: GenerateAsked) -> StreamingResponse:
        """Write on after a prompt: server-sent events, a piece of the text each, and ``event: end``."""
        served = run_named(run, "generate")
        within(asked.length, "length")
        how = asked.model_dump(exclude={"prompt", "length", "seed"})
        loop = asyncio.get_running_loop()

        def begin() -> Iterator[Any]:
            return served.job.write(asked.prompt, asked.length, seed=asked.seed, **how)

        pieces = await in_time(loop.run_in_executor(COMPUTING, begin))
        first = await in_time(loop.run_in_executor(COMPUTING, _some, pieces))

        async def events() -> AsyncIterator[str]:
            text, until = first, time.monotonic() + limits.time
            while text is not None and time.monotonic() < until:
                yield f"data: {json.dumps({'text': text})}\n\n"
                text = await loop.run_in_executor(COMPUTING, _some, pieces)
            yield f"event: end\ndata: {json.dumps({'complete': text is None})}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.post("/runs/{run}/sessions", status_code=201, dependencies=guarded)
    async def open_session(run: str) -> Opened:
        """Open a session: a network that keeps its state from value to value."""
        name = sessions.add(run_named(run).session())
        if name is None:
            raise HTTPException(429, f"{limits.sessions} sessions are open, and no more may be; close one")
        return Opened(session=name)

    @app.post("/sessions/{session}/push", dependencies=guarded)
    async def push(session: str, asked: PushAsked) -> Said:
        """Take the next values of a session, and say what the network says to each."""
        found = session_named(session)
        values = _taken(found, asked.values)
        within(len(values), "values")
        return Said(said=await in_time(found.push(values)))

    @app.delete("/sessions/{session}", dependencies=guarded)
    async def close_session(session: str) -> dict[str, str]:
        """Close a session."""
        if not sessions.close(session):
            session_named(session)
        return {"closed": session}

    @app.websocket("/sessions/{session}")
    async def talk(socket: WebSocket, session: str) -> None:
        """A session over a WebSocket: each message is the JSON of values, each answer that of what is said."""
        given = socket.headers.get("authorization", "")
        found = sessions.get(session)
        if found is None or (token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode())):
            await socket.close(4404 if found is None else 4401)
            return
        await socket.accept()
        try:
            while True:
                message = await socket.receive_text()
                try:
                    asked = PushAsked.model_validate_json(message)
                    values = _taken(found, asked.values)
                    within(len(values), "values")
                    await socket.send_text(json.dumps({"said": await in_time(found.push(values))}))
                except ValidationError as error:
                    await socket.send_text(json.dumps({"error": _worded(error.errors())}))
                except (ElmanError, HTTPException) as error:
                    await socket.send_text(json.dumps({"error": str(getattr(error, "detail", error))}))
        except WebSocketDisconnect:
            return

    app.add_middleware(BodyLimit, most=limits.body)
    return app


def _some(pieces: Iterator[tuple[str, Any]]) -> str | None:
    """The next text that is not empty; None at the end. A few symbols at a time: a thread is asked for each."""
    until, found = time.perf_counter() + 0.005, ""
    for text, _ in pieces:
        found += text
        if found and time.perf_counter() > until:
            return found
    return found or None


def _columns(values: Any, count: int | None) -> np.ndarray:
    """Rows of numbers as (N, C)."""
    if len({len(row) if isinstance(row, list) else -1 for row in values}) > 1:
        raise ElmanError("values: the rows are of unlike lengths")
    array = np.array(values, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if not len(array) or (count is not None and array.shape[1] != count):
        raise ElmanError(f"values: got shape {array.shape}, want (N, {count or 'C'}) with N above 0")
    return array


def _taken(session: Session, values: Any) -> list[Any]:
    """What was sent, as the session's stream takes it."""
    model = session.stream.model
    if model.tokens:
        if isinstance(values, str):
            known = {token: number for number, token in enumerate(model.tokens)}
            missing = [c for c in values if c not in known]
            if missing and model.level != "word":
                raise ElmanError(f"values: the network does not know {missing[0]!r}")
            if model.level == "word":
                raise ElmanError("values: a network of words takes their numbers")
            return [known[c] for c in values]
        if any(isinstance(v, list) or v != int(v) for v in values):
            raise ElmanError("values: want symbols, whole numbers, or a text")
        return [int(v) for v in values]
    if isinstance(values, str):
        raise ElmanError("values: got a text, and this network reads numbers")
    return list(_columns(values, len(model.columns))) if values else []


def _worded(errors: Any) -> str:
    """What pydantic found wrong, in one line, without the values: these may be anything."""
    lines = [f"{'.'.join(str(part) for part in e['loc'] if part != 'body') or 'body'}: {e['msg']}" for e in errors]
    return "; ".join(dict.fromkeys(lines))
