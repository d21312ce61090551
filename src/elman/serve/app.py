"""The server: what it answers, and what it refuses."""

import asyncio
import functools
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from numpy.typing import NDArray
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elman import __version__
from elman.choices.serve import Limits
from elman.data import Series
from elman.data.series import calendar
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
        self.app: ASGIApp = app
        self.most: int = most

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


class Server:
    """What every answer needs: the runs by name, the limits, the token, the sessions, and what was measured."""

    def __init__(self, runs: Mapping[str, Served], limits: Limits, token: str) -> None:
        self.runs: Mapping[str, Served] = runs
        self.limits: Limits = limits
        self.token: str = token
        self.sessions: Sessions = Sessions(limits.sessions, limits.idle)
        self.measured: Measured = Measured()

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether a request carries the token, where one is wanted."""
        wanted = f"Bearer {self.token}".encode()
        return not self.token or hmac.compare_digest(headers.get("authorization", "").encode(), wanted)

    def allowed(self, request: Request) -> None:
        """Refuse a request without the token."""
        if not self.knows(request.headers):
            raise HTTPException(401, "a token is wanted: Authorization: Bearer TOKEN")

    def run(self, name: str, task: str = "") -> Served:
        """The run of that name, and of that task."""
        if name not in self.runs:
            raise HTTPException(404, f"there is no run '{name}'; there are {', '.join(self.runs)}")
        if task and self.runs[name].task != task:
            raise HTTPException(404, f"run '{name}' is of task '{self.runs[name].task}' and cannot {task}")
        return self.runs[name]

    def session(self, name: str) -> Session:
        """The session of that name."""
        session = self.sessions.get(name)
        if session is None:
            what = "it was closed, was idle too long, or the server began anew; open one"
            raise HTTPException(404, f"there is no session '{name}': {what}")
        return session

    def within(self, length: int, what: str) -> None:
        """Refuse more than is computed in one request."""
        if length > self.limits.length:
            raise HTTPException(422, f"{what}: {length} are more than {self.limits.length} in one request")

    async def in_time(self, answer: Awaitable[Any]) -> Any:
        """The answer, or a refusal where it takes too long."""
        try:
            return await asyncio.wait_for(answer, self.limits.time)
        except TimeoutError:
            raise HTTPException(503, f"the answer took more than {self.limits.time:g} seconds") from None

    async def pushed(self, session: Session, asked: PushAsked) -> Said:
        """What a session says to what comes next."""
        values = _taken(session, asked.values)
        self.within(len(values), "values")
        return Said(said=await self.in_time(session.push(values)))


def application(runs: Mapping[str, Served], limits: Limits | None = None, token: str = "") -> FastAPI:
    """Make the server of ``runs``, by name.

    With a ``token`` every request must carry it (``Authorization: Bearer ...``).
    """
    server = Server(runs, limits or Limits.model_validate({}), token)
    app = FastAPI(title="Elman", version=__version__, description="Recurrent networks, trained.", responses=REFUSALS)
    guarded = APIRouter(dependencies=[Depends(server.allowed)])
    _add_state(app, guarded, server)
    _add_tasks(guarded, server)
    _add_sessions(guarded, server)
    app.include_router(guarded)
    _add_socket(app, server)  # it asks for the token itself: what guards requests cannot guard a socket
    _add_refusals(app)
    app.add_middleware(BodyLimit, most=server.limits.body)
    return app


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def _malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        return refusal(422, _worded(error.errors()))

    @app.exception_handler(ElmanError)
    async def _elman(_: Request, error: ElmanError) -> JSONResponse:
        return refusal(422, str(error))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        return refusal(error.status_code, str(error.detail))


def _add_state(app: FastAPI, guarded: APIRouter, server: Server) -> None:
    @app.middleware("http")
    async def _measure(request: Request, follow: Callable[[Request], Awaitable[Any]]) -> Any:
        start = time.perf_counter()
        answer = await follow(request)
        route = request.scope.get("route")
        server.measured.add(getattr(route, "path", "other"), answer.status_code, time.perf_counter() - start)
        return answer

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the server answers."""
        return {"status": "ok", "version": __version__, "runs": list(server.runs), "sessions": len(server.sessions)}

    @guarded.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> str:
        """Requests and sessions, as Prometheus reads them."""
        return server.measured.text(len(server.sessions))

    @guarded.get("/runs")
    async def list_runs() -> list[dict[str, Any]]:
        """The runs that are served."""
        return [served.facts() for served in server.runs.values()]


def _add_tasks(guarded: APIRouter, server: Server) -> None:
    @guarded.post("/runs/{run}/forecast")
    async def forecast(run: str, asked: ForecastAsked) -> Forecast:
        """Forecast a series: the one sent, or what follows the run's own."""
        served = server.run(run, "forecast")
        server.within(asked.steps or 1, "steps")
        return await server.in_time(served.together.ask(functools.partial(_forecast, served.job), asked))

    @guarded.post("/runs/{run}/classify")
    async def classify(run: str, asked: ClassifyAsked) -> Classes:
        """Say the class of each sequence."""
        served = server.run(run, "classify")
        server.within(len(asked.sequences), "sequences")
        return await server.in_time(served.together.ask(functools.partial(_classes, served.job), asked))

    @guarded.post(
        "/runs/{run}/generate",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": "pieces of text, as they are written"}},
    )
    async def generate(run: str, asked: GenerateAsked) -> StreamingResponse:
        """Write on after a prompt: server-sent events, a piece of the text each, and ``event: end``."""
        served = server.run(run, "generate")
        server.within(asked.length, "length")
        how = asked.model_dump(exclude={"prompt", "length", "seed"})
        pieces = served.job.write(asked.prompt, asked.length, seed=asked.seed, **how)
        loop = asyncio.get_running_loop()
        first = await server.in_time(loop.run_in_executor(COMPUTING, _some, pieces))

        async def events() -> AsyncIterator[str]:
            text, until = first, time.monotonic() + server.limits.time
            while text is not None and time.monotonic() < until:
                yield f"data: {json.dumps({'text': text})}\n\n"
                text = await loop.run_in_executor(COMPUTING, _some, pieces)
            yield f"event: end\ndata: {json.dumps({'complete': text is None})}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")


def _add_sessions(guarded: APIRouter, server: Server) -> None:
    @guarded.post("/runs/{run}/sessions", status_code=201)
    async def open_session(run: str) -> Opened:
        """Open a session: a network that keeps its state from value to value."""
        name = server.sessions.add(server.run(run).session())
        if name is None:
            raise HTTPException(429, f"{server.limits.sessions} sessions are open, and no more may be; close one")
        return Opened(session=name)

    @guarded.post("/sessions/{session}/push")
    async def push(session: str, asked: PushAsked) -> Said:
        """Take the next values of a session, and say what the network says to each."""
        return await server.pushed(server.session(session), asked)

    @guarded.delete("/sessions/{session}")
    async def close_session(session: str) -> dict[str, str]:
        """Close a session."""
        if not server.sessions.close(session):
            server.session(session)
        return {"closed": session}


def _add_socket(app: FastAPI, server: Server) -> None:
    @app.websocket("/sessions/{session}")
    async def talk(socket: WebSocket, session: str) -> None:
        """A session over a WebSocket: each message is the JSON of values, each answer that of what is said."""
        open_session = server.sessions.get(session)
        if open_session is None or not server.knows(socket.headers):
            await socket.close(4404 if open_session is None else 4401)
            return
        await socket.accept()
        with suppress(WebSocketDisconnect):
            while True:
                await socket.send_text(await _answer(open_session, await socket.receive_text()))

    async def _answer(session: Session, message: str) -> str:
        try:
            return (await server.pushed(session, PushAsked.model_validate_json(message))).model_dump_json()
        except ValidationError as error:
            return json.dumps({"error": _worded(error.errors())})
        except (ElmanError, HTTPException) as error:
            return json.dumps({"error": str(getattr(error, "detail", error))})


def _forecast(job: Any, asked: ForecastAsked) -> Forecast:
    data = None if asked.values is None else _series(job.series, asked)
    continuation = job.predict(asked.steps or job.config.horizon, data, levels=asked.levels)
    around = {
        f"{level:g}": {"low": lower.tolist(), "high": upper.tolist()}
        for level, (lower, upper) in continuation.intervals.items()
    }
    dates = None if continuation.dates is None else [str(date) for date in continuation.dates]
    return Forecast(
        columns=list(continuation.names), forecast=continuation.values.tolist(), dates=dates, intervals=around
    )


def _classes(job: Any, asked: ClassifyAsked) -> Classes:
    sequences = [s if isinstance(s, str) else _columns(s, None) for s in asked.sequences]
    prediction = job.predict(sequences)
    odds = np.asarray(prediction.probabilities).tolist()
    return Classes(classes=list(prediction.classes), labels=list(prediction.labels), probabilities=odds)


def _some(pieces: Iterator[tuple[str, Any]]) -> str | None:
    """The next text that is not empty; None at the end. A few symbols at a time: a thread is asked for each."""
    until, said = time.perf_counter() + 0.005, ""
    for text, _ in pieces:
        said += text
        if said and time.perf_counter() > until:
            return said
    return said or None


def _series(trained: Series, asked: ForecastAsked) -> Series:
    """The values asked for, with dates where their begin is said, in the columns and the step of those trained on."""
    values = _columns(asked.values, len(trained.names))
    if asked.begin is None:
        return Series(values, trained.names, source="values")
    if trained.times is None or trained.step is None:
        raise ElmanError("begin: what the run was trained on has no dates; leave it out")
    try:
        begin = np.datetime64(asked.begin, "us")
    except ValueError:
        raise ElmanError(f"begin: {asked.begin!r} is no date such as 2024-01-31 or 2024-01-31T06:00") from None
    times = calendar.advance(begin, trained.step, np.arange(len(values)), calendar.anchor_day(trained.times))
    return Series(values, trained.names, times, trained.step, "values", (), trained.zone)


def _columns(values: Any, count: int | None) -> NDArray[Any]:
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
