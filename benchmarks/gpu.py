"""Checks and times Elman on a GPU in one call of five minutes at most; the short table comes last.

    python benchmarks/gpu.py --json gpu.json

Needs a CUDA card, Python 3.11 or later, a C compiler (Triton builds its launchers with it), and the wheels torch, numpy
and triton, nothing else: `PYTHONPATH=src` stands in for an installation. Each part runs in a process of its own with a
limit of time, so that a kernel that hangs or fails costs its own part alone.

check  every cell of the catalogue and every layout on the card, outputs and gradients, against the loop in float64
time   B 16, T 1024: Elman's Triton kernels beside torch.nn, the loop step by step, the loop with each step through
       torch.compile, and the loop captured in CUDA graphs; minGRU at T 16,384 too
text   training of a text model: characters a second, with torch.nn's LSTM and with Elman's

Everything is timed in turn, medians of rounds, with CUDA's own events. Floors are the card's: bytes that must move over
the speed of a large copy, and products over the speed of a large matrix product in the same dtype, both measured here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from elman import Recurrent, cells

LIMITS = {"check": 100, "warm": 100, "time": 150, "text": 30}  # seconds; `warm` runs beside `check`
DTYPES = ("float32", "tf32", "bfloat16")
OWN = [("peephole", {}), ("slstm", {}), ("slstm", {"heads": 8}), ("mingru", {})]
STANDARD = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
SIZES = (128, 256, 512, 768, 1024)
BATCH, STEPS, LONG = 16, 1024, 16384
SHARES = 8  # processes of `check`, and of `warm`, side by side: most of their time goes into compiling


def cases() -> list[tuple[str, dict[str, int], int, str, int]]:
    """(cell, options, hidden size, dtype, steps), what matters most first."""
    listed = [(name, {}, H, dtype, STEPS) for dtype in DTYPES for name in STANDARD for H in SIZES]
    listed += [(name, options, H, dtype, STEPS) for dtype in ("float32", "bfloat16") for name, options in OWN
               for H in SIZES]  # fmt: skip
    listed.insert(5, ("mingru", {}, 128, "float32", LONG))
    return sorted(listed, key=lambda case: (case[2] not in (256, 128), case[3] == "tf32"))


def label(name: str, options: dict[str, int]) -> str:
    return "-".join([name, *(f"{value}-{option}" for option, value in options.items())])


def kind(dtype: str) -> torch.dtype:
    """The dtype of tensors; ``tf32`` is float32 with torch's switch thrown."""
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    torch.backends.cudnn.allow_tf32 = dtype == "tf32"
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32


def made(name: str, options: dict[str, int], hidden: int, dtype: torch.dtype, backend: str) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(name, hidden, hidden, backend=backend, **options).to("cuda", dtype)


def step_of(layer: nn.Module, x: Tensor, backwards: bool) -> Callable[[], object]:
    """A forward pass, or one with the gradients of the weights and of the input."""

    def forward() -> object:
        with torch.no_grad():
            return layer(x)[0]

    def both() -> object:
        own = x.detach().requires_grad_()
        output = layer(own)[0]
        return torch.autograd.grad(output, [own, *layer.parameters()], torch.ones_like(output))

    return both if backwards else forward


def timed(works: dict[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """Milliseconds of each, medians of rounds in turn; one that fails is left out."""
    alive, times = {}, {}
    for name, work in works.items():
        try:
            work()
            torch.cuda.synchronize()
            alive[name], times[name] = work, []
        except Exception as error:
            say({"failed": name, "why": f"{type(error).__name__}: {str(error)[:200]}"})
    for _ in range(rounds):
        for name, work in alive.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            work()
            end.record()
            torch.cuda.synchronize()
            times[name].append(start.elapsed_time(end))
    return {name: median(of) for name, of in times.items()}


def say(row: dict[str, Any]) -> None:
    print(json.dumps(row), flush=True)


# The parts


def check(share: int) -> None:
    """Cells against the reference in float64; a layer may err ten times as much as the reference in its dtype."""
    lengths = torch.tensor([9, 4, 0, 9, 1], device="cuda")
    wanted = [(name, {}, H, "float32") for H in (20, 160) for name in cells.REGISTRY]
    wanted += [(name, {}, 160, "bfloat16") for name in ("lstm", "gru", "slstm", "layer_norm_lstm", "cfc", "mingru")]
    wanted += [("slstm", {"heads": 8}, H, dtype) for H in (160, 1024) for dtype in ("float32", "bfloat16")]
    wanted += [("lstm", {}, 1024, "float32"), ("gru_cho", {}, 600, "float32"), ("layer_norm_lstm", {}, 600, "float32")]
    for name, options, hidden, dtype in wanted[share::SHARES]:
        of = kind(dtype)
        layer, truth = made(name, options, hidden, of, "triton"), made(name, options, hidden, of, "reference")
        truth.load_state_dict(layer.state_dict())
        x = torch.randn(9, 5, hidden, device="cuda").to(of)
        sizes = layer.program.sizes(hidden, hidden)
        extras = {e.name: torch.rand(9, 5, sizes[e.size], device="cuda").to(of) for e in layer.program.extras}
        try:
            results = [outcome(one, x, lengths, extras, t) for one, t in
                       ((layer, of), (truth, of), (truth, torch.float64))]  # fmt: skip
        except Exception as error:
            say({"check": label(name, options), "hidden": hidden, "dtype": dtype, "ok": False,
                 "why": f"{type(error).__name__}: {str(error)[:300]}"})  # fmt: skip
            continue
        found, own, want = results
        if not all(bool(f.isfinite().all()) for f in found):
            say({"check": label(name, options), "hidden": hidden, "dtype": dtype, "ok": False, "why": "not finite"})
            continue
        scale = [max(float(w.abs().max()), 1e-3) for w in want]
        err = max(float((f - w).abs().max()) / s for f, w, s in zip(found, want, scale, strict=True))
        allowed = 10 * max(float((o - w).abs().max()) / s for o, w, s in zip(own, want, scale, strict=True))
        allowed += 1e-5 if dtype == "float32" else 3e-2
        again = all(torch.equal(a, b) for a, b in zip(found, outcome(layer, x, lengths, extras, of), strict=True))
        say({"check": label(name, options), "hidden": hidden, "dtype": dtype, "error": err, "allowed": allowed,
             "equal_bits": again, "ok": err <= allowed and again})  # fmt: skip


def outcome(
    layer: Recurrent, x: Tensor, lengths: Tensor, extras: dict[str, Tensor], dtype: torch.dtype
) -> list[Tensor]:
    """Output and gradients, as float64."""
    layer = layer.to(dtype)
    own = x.to(dtype).requires_grad_()
    output = layer(own, lengths=lengths, **{n: e.to(dtype) for n, e in extras.items()})[0]
    weight = torch.linspace(-1, 1, output.numel(), device="cuda", dtype=dtype).view_as(output)
    grads = torch.autograd.grad(output, [own, *layer.parameters()], weight, allow_unused=True, materialize_grads=True)
    return [t.detach().double() for t in (output, *grads)]


def warm(share: int) -> None:
    """Compile what ``time`` will run; Triton keeps it on disk."""
    for name, options, hidden, dtype, _ in cases()[share::SHARES]:
        x = torch.randn(16, BATCH, hidden, device="cuda").to(kind(dtype))
        layer = made(name, options, hidden, x.dtype, "triton")
        for backwards in (False, True):
            try:
                step_of(layer, x, backwards)()
            except Exception as error:
                say({"failed": label(name, options), "hidden": hidden, "why": str(error)[:200]})


def time_all(until: float) -> None:
    """The grid; what there is no time for is left out, and said."""
    say({"copy_gbs": copy_speed(), **{f"tflops_{dtype}": product_speed(dtype) for dtype in DTYPES}})
    for case in cases():
        name, options, hidden, dtype, steps = case
        what = {"cell": label(name, options), "hidden": hidden, "dtype": dtype, "steps": steps}
        if time.monotonic() > until:
            say({"left_out": what})
            continue
        x = torch.randn(steps, BATCH, hidden, device="cuda").to(kind(dtype))
        for backwards in (False, True):
            layers: dict[str, nn.Module] = {"triton": made(name, options, hidden, x.dtype, "triton")}
            if name in STANDARD:
                layers["torch.nn"] = STANDARD[name](hidden, hidden).to("cuda", x.dtype)
            elif hidden in (128, 256) and dtype == "float32":
                layers["graph"] = made(name, options, hidden, x.dtype, "graph")
            works = {peer: step_of(layer, x, backwards) for peer, layer in layers.items()}
            times = timed(works)
            if name not in STANDARD and hidden in (128, 256) and dtype == "float32":
                loop = made(name, options, hidden, x.dtype, "reference")
                times |= timed({"loop": step_of(loop, x[: min(steps, 2048)], backwards)}, 2)
                times["loop"] *= steps / min(steps, 2048)
                if name == "peephole":
                    times |= timed({"torch.compile": compiled_loop(x, hidden, backwards)}, 2)
            say(
                {
                    **what,
                    "pass": "both" if backwards else "forward",
                    "ms": times,
                    **floors(layers["triton"], x, backwards),
                }
            )


def compiled_loop(x: Tensor, hidden: int, backwards: bool) -> Callable[[], object]:
    """A peephole LSTM as a person writes it, each step through torch.compile."""
    weights = [
        (torch.randn(4 * hidden, n, device="cuda", dtype=x.dtype) / n**0.5).requires_grad_() for n in (hidden,) * 2
    ]
    peep = [torch.zeros(hidden, device="cuda", dtype=x.dtype, requires_grad=True) for _ in range(3)]

    @torch.compile
    def step(given: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, g, o = (given + h @ weights[1].T).chunk(4, 1)
        c = torch.sigmoid(f + peep[0] * c) * c + torch.sigmoid(i + peep[1] * c) * torch.tanh(g)
        return torch.sigmoid(o + peep[2] * c) * torch.tanh(c), c

    def run() -> object:
        own = x.detach().requires_grad_(backwards)
        with torch.set_grad_enabled(backwards):
            given = own @ weights[0].T
            h = c = x.new_zeros(BATCH, hidden)
            outputs = []
            for t in range(len(x)):
                h, c = step(given[t], h, c)
                outputs.append(h)
            output = torch.stack(outputs)
        return torch.autograd.grad(output.sum(), [own, *weights, *peep]) if backwards else output

    return run


def copy_speed() -> float:
    """GB a second, read and written."""
    a = torch.empty(1 << 28, device="cuda")
    b = torch.empty_like(a)
    return 2 * a.numel() * 4 / timed({"copy": lambda: b.copy_(a)})["copy"] / 1e6


def product_speed(dtype: str) -> float:
    """TFLOP a second of a large product."""
    a = torch.randn(8192, 8192, device="cuda").to(kind(dtype))
    return 2 * 8192**3 / timed({"product": lambda: a @ a})["product"] / 1e9


def floors(layer: nn.Module, x: Tensor, backwards: bool) -> dict[str, float]:
    """Bytes that must move (x, output, weights; with gradients as much again, and the cotangent) and operations."""
    weights = sum(p.numel() for p in layer.parameters())
    passes = 3 if backwards else 1
    moved = (2 * x.numel() + weights) * x.element_size() * (2.5 if backwards else 1)
    return {"gbytes": moved / 1e9, "tflop": 2 * passes * weights * x.shape[0] * x.shape[1] / 1e12}


def text() -> None:
    """A character model, one layer of 512 units, 128 rows of 256 characters, bfloat16 weights, AdamW."""
    of, hidden, symbols = kind("bfloat16"), 512, 96
    data = torch.randint(symbols, (257, 128), device="cuda")

    class Model(nn.Module):
        def __init__(self, layer: nn.Module) -> None:
            super().__init__()
            self.embed, self.layer, self.head = nn.Embedding(symbols, hidden), layer, nn.Linear(hidden, symbols)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(self.embed(x))[0])

    def training(layer: nn.Module) -> Callable[[], object]:
        model = Model(layer).to("cuda", of)
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

        def step() -> object:
            loss = nn.functional.cross_entropy(model(data[:-1]).flatten(0, 1).float(), data[1:].flatten())
            optimiser.zero_grad()
            loss.backward()
            return optimiser.step()

        return step

    layers: dict[str, nn.Module] = {"torch.nn LSTM": nn.LSTM(hidden, hidden)}
    for name, backend in (("lstm", "auto"), ("lstm", "triton"), ("peephole", "triton"), ("peephole", "graph")):
        layers[f"{name} ({backend})"] = Recurrent(name, hidden, hidden, backend=backend)
    times = timed({name: training(layer) for name, layer in layers.items()}, 7)
    say({"characters_per_second": {name: round(128 * 256 / ms * 1000) for name, ms in times.items()}})


# Together


def part(name: str, *more: str) -> Iterator[dict[str, Any]]:
    """Run a part in a process of its own; what it said until its end, or until its time was up."""
    command = [sys.executable, __file__, "--part", name, *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=LIMITS[name])
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        yield {"failed": name, "why": f"not done within {LIMITS[name]} s"}
    if process.returncode not in (0, -9):
        yield {"failed": name, "why": err[-600:]}
    yield from (json.loads(line) for line in out.splitlines() if line.startswith("{"))


def table(rows: list[dict[str, Any]]) -> None:
    """What a person reads first: how many checks failed, then the ratios."""
    speeds = next((row for row in rows if "copy_gbs" in row), {})
    print("\ncell              T     H     dtype     pass       ms torch.nn    loop compile   graph   % copy % product")
    for row in (row for row in rows if "ms" in row and "triton" in row["ms"]):
        own = row["ms"]["triton"]
        ratio = [f"{row['ms'][peer] / own:7.2f}" if peer in row["ms"] else "      -" for peer in
                 ("torch.nn", "loop", "torch.compile", "graph")]  # fmt: skip
        share = [100 * row["gbytes"] / speeds["copy_gbs"] * 1e3 / own,
                 100 * row["tflop"] / speeds[f"tflops_{row['dtype']}"] * 1e3 / own]  # fmt: skip
        what = f"{row['cell']:<13} {row['steps']:>5} {row['hidden']:>5} {row['dtype']:>9} {row['pass']:>8}"
        print(f"{what} {own:8.2f}", *ratio, *(f"{s:8.1f}" for s in share))
    checks = [row for row in rows if "check" in row]
    for row in (row for row in checks if not row["ok"]):
        print("WRONG", row)
    for row in (row for row in rows if "failed" in row or "left_out" in row):
        print(row)
    for row in (row for row in rows if "characters_per_second" in row):
        print("characters a second:", row["characters_per_second"])
    print(f"{sum(row['ok'] for row in checks)} of {len(checks)} checks passed; ratios are times of the peer over ours")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="a file for everything that was measured")
    parser.add_argument("--part", choices=["check", "warm", "time", "text"], help=argparse.SUPPRESS)
    parser.add_argument("--share", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA card is at hand; `benchmarks/gpu_code.py` compiles the kernels without one", file=sys.stderr)
        return 2
    if options.part:
        {"check": lambda: check(options.share), "warm": lambda: warm(options.share), "text": text,
         "time": lambda: time_all(time.monotonic() + LIMITS["time"] - 15)}[options.part]()  # fmt: skip
        return 0
    started = time.monotonic()
    rows: list[dict[str, Any]] = []
    with ThreadPoolExecutor(2 * SHARES) as pool:
        beside = [(name, share) for name in ("check", "warm") for share in range(SHARES)]
        running = [pool.submit(lambda n=n, s=s: list(part(n, "--share", str(s)))) for n, s in beside]
        for done in running:
            rows += done.result()
    for name in ("time", "text"):
        rows += part(name)
    import triton

    log = {"card": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton.__version__,
           "date": time.strftime("%Y-%m-%d"), "seconds": round(time.monotonic() - started), "rows": rows}  # fmt: skip
    if options.json:
        with open(options.json, "w") as file:
            json.dump(log, file, indent=1)
    print({name: value for name, value in log.items() if name != "rows"})
    table(rows)
    return 0 if all(row.get("ok", True) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
