"""A server under many sessions at once: each over a WebSocket, each compared with its own stream alone.

python benchmarks/serve.py [--sessions 200] [--seconds 60] [--rate 2] [--save docs/serve.json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import websockets

from elman.jobs import Forecaster

PORT = 8765
ADDRESS = f"http://127.0.0.1:{PORT}"


def ask(path: str, method: str = "GET") -> dict:
    """What the server answers."""
    with urllib.request.urlopen(urllib.request.Request(ADDRESS + path, method=method)) as answer:
        return json.load(answer)


async def talk(number: int, until: float, rate: float, times: list[float]) -> tuple[int, list, list]:
    """One session: values at a rate, and what was said."""
    name = (await asyncio.to_thread(ask, "/runs/wave/sessions", "POST"))["session"]
    random, sent, said = np.random.default_rng(number), [], []
    async with websockets.connect(f"ws://127.0.0.1:{PORT}/sessions/{name}") as socket:
        await asyncio.sleep(random.random() / rate)
        while time.monotonic() < until:
            value = float(np.sin(len(sent) / 5 + number) + 0.1 * random.standard_normal())
            start = time.perf_counter()
            await socket.send(json.dumps({"values": [value]}))
            answer = json.loads(await socket.recv())
            times.append(time.perf_counter() - start)
            sent.append(value)
            said += answer["said"]
            await asyncio.sleep(max(0.0, 1 / rate - times[-1]))
    return number, sent, said


async def run(sessions: int, seconds: float, rate: float) -> tuple[list[float], list]:
    """All sessions at once."""
    times: list[float] = []
    until = time.monotonic() + seconds
    return times, await asyncio.gather(*(talk(k, until, rate, times) for k in range(sessions)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, default=2, help="values a second of each session")
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        forecaster = Forecaster("gru", hidden=64, network_alone=True, stateful=True, epochs=1)
        forecaster.fit("wave:sine", run=Path(folder, "wave"))
        command = [sys.executable, "-m", "elman", "serve", "wave", "--port", str(PORT)]
        server = subprocess.Popen(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"})
        try:
            for _ in range(300):
                try:
                    ask("/health")
                    break
                except OSError:
                    time.sleep(0.1)
            times, found = asyncio.run(run(args.sessions, args.seconds, args.rate))
        finally:
            server.terminate()
            code = server.wait(30)
    worst = 0.0
    for _, sent, said in found:
        stream = forecaster.stream()
        alone = [stream.push(value).tolist() for value in sent]
        worst = max(worst, float(np.abs(np.array(alone) - np.array(said)).max()))
    ms = np.array(times) * 1000
    result = {
        "sessions": args.sessions,
        "seconds": args.seconds,
        "pushes a second": round(len(ms) / args.seconds),
        "milliseconds": {f"p{p}": round(float(np.percentile(ms, p)), 2) for p in (50, 99, 99.9)},
        "largest difference from a stream alone": worst,
        "exit code": code,
    }
    print(json.dumps(result, indent=1))
    if args.save:
        args.save.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
