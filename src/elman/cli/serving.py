"""The command that serves runs over HTTP."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.choices.serve import Limits
from elman.cli import console, options
from elman.errors import ElmanError, RunError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
TOKEN = "ELMAN_TOKEN"


@options.takes(options.fields(Limits))
def serve(
    choices: dict[str, Any],
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", show_default=False)],
    host: Annotated[str, typer.Option(help="Address to listen on; this machine alone unless told.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
) -> int:
    """Serve runs over HTTP: forecasts, classes, texts, and sessions that keep a state.

    With the environment variable ELMAN_TOKEN every request must carry that token.

    Examples:
        elman serve runs/sales-gru
        elman serve runs/sales-gru runs/book --host 0.0.0.0 --port 80
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ElmanError(f"this needs {error.name}, which is not installed: pip install 'elman[serve]'") from None
    from elman.serve import Served, application
    from elman.training import checked

    limits = checked(Limits, choices)
    served_runs: dict[str, Served] = {}
    for path in runs:
        served = Served(path)
        if served.name in served_runs:
            raise RunError(f"{path}: a run called '{served.name}' is served already; rename one of the folders")
        served_runs[served.name] = served
    token = os.environ.get(TOKEN, "")
    if host not in LOOPBACK and not token:
        console.say(f"warning: whoever reaches {host}:{port} may ask; set {TOKEN} to want a token")
    app = application(served_runs, limits, token)
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=10)
    server = uvicorn.Server(config)
    console.say(f"serving {', '.join(served_runs)} on http://{host}:{port} (its schema: /docs, /openapi.json)")
    # Uvicorn drains, and then raises the signal again: it has been heard by then.
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: None)
    server.run()
    return console.DONE if server.started else console.USERS_INPUT
