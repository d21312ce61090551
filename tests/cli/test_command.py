"""The command line as a whole: it starts at once, its help tells, and any text reaches any stdout."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import elman as package
from commands import COMMANDS

HEAVY = {"torch", "polars"}


def elman_process(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "elman", *arguments], capture_output=True, check=False, **options)


def loaded(*arguments: str, **environment: str) -> set[str]:
    """The modules a command line loads, and polars and torch among them."""
    code = (
        "import sys\nfrom elman.cli import run\n"
        f"try:\n    run({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["train", "--help"],
        ["train", "forecast", "--help"],
        ["train", "forecast", "x.csv", "--hiden", "3"],
        ["train", "forecast", "x.csv", "--epochs", "many"],
        ["forecat"],
        ["plot"],
    ],
)
def test_what_only_speaks_loads_neither_torch_nor_polars(arguments):
    assert not loaded(*arguments) & HEAVY


def test_version_and_help_do_without_pydantic_too():
    assert "pydantic" not in loaded("--version") | loaded("--help")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("elman t", {"train", "test", "tune"}),
        ("elman train f", {"forecast"}),
        ("elman train generate --b", {"--batch", "--bptt"}),
    ],
)
def test_completion_is_right_and_loads_neither(words, found):
    environment = {"_ELMAN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = elman_process(env={**os.environ, **environment}, text=True)
    assert set(done.stdout.split()) == found
    assert not loaded(**environment) & HEAVY


def test_inspect_loads_no_torch(tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("x\n" + "".join(f"{i}\n" for i in range(40)))
    assert "torch" not in loaded("inspect", str(file))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_begins_with_the_first_line_and_ends_with_examples_that_parse(name, elman):
    short = COMMANDS[name].get_short_help_str()
    code, shown, _ = elman(*name.split(), "--help")
    assert code == 0
    assert short.endswith(".")
    assert short in " ".join(shown.split())
    examples = shown.partition("\nExamples:\n")[2].splitlines()
    assert examples, "no example"
    for example in examples:
        command, *words = shlex.split(example)
        count = len(name.split())
        assert (command, words[:count]) == ("elman", name.split())
        COMMANDS[name].make_context(name, words[count:])


def test_options_are_grouped_in_the_order_of_use(elman):
    _, shown, _ = elman("train", "forecast", "--help")
    titles = [line[:-1] for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Arguments", "Data", "Network", "Forecast", "Training", "Output", "Examples"]
    assert "[0.015]" in shown


def test_every_public_name_is_there_before_torch_is():
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    assert {name for names in package.PLACES.values() for name in names} | {"cells", "equations"} == set(
        package.__all__
    )
    with pytest.raises(AttributeError, match="no attribute 'Recurent'"):
        _ = package.Recurent


# Any text goes to any stdout


def series_named(folder: Path, name: str) -> Path:
    file = folder / "x.csv"
    file.write_text(f"{name}\n" + "".join(f"{i % 7}\n" for i in range(40)), encoding="utf-8")
    return file


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "gbk"])
def test_any_text_goes_to_any_stdout(tmp_path, encoding):
    file = series_named(tmp_path, "температура 温度 😀")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = elman_process("inspect", str(file), env=environment)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    shown = done.stdout.decode(encoding)
    assert "\\U0001f600" in shown or "😀" in shown
    done = elman_process("inspect", str(file), "--json", env=environment)
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["columns"][0]["name"] == "температура 温度 😀"


@pytest.mark.full
def test_a_closed_stdout_is_no_fault():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os,sys; os.close(1); os.execv(sys.executable, [sys.executable, '-m', 'elman', 'cells'])",
        ],
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.full
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_says_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "elman", "cells"], stdout=full, stderr=subprocess.PIPE, check=False, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "elman: stdout: cannot be written: No space left on device\n"


@pytest.mark.full
def test_a_reader_that_has_seen_enough_is_no_fault():
    shown = subprocess.run(
        f"{sys.executable} -m elman cells --markdown | head -c 1", shell=True, capture_output=True, check=False
    )
    assert shown.stderr == b""


def on_terminal(*arguments: str) -> bytes:
    """What a command prints on a terminal."""
    outer, inner = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "elman", *arguments], stdout=inner, stderr=inner)
    os.close(inner)
    found = b""
    while True:
        try:
            found += os.read(outer, 65536)
        except OSError:
            break
    os.close(outer)
    assert process.wait() == 0
    return found


@pytest.mark.full
def test_what_would_steer_a_terminal_is_escaped_there_alone(tmp_path):
    file = series_named(tmp_path, '"x\x1b[2J\u202e"')
    assert b"\x1b[2J" not in on_terminal("inspect", str(file))
    assert b"x\\x1b[2J\\u202e" in on_terminal("inspect", str(file))
    assert b"x\x1b[2J" in elman_process("inspect", str(file)).stdout


INTERRUPTED = """
import os, signal, sys, threading
from elman.cli import main

later = threading.Timer(float(sys.argv.pop(1)), os.kill, (os.getpid(), signal.SIGINT))
try:
    later.start()
except KeyboardInterrupt:  # at once
    sys.exit(130)
main()
"""


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0, 8.0])
def test_an_interrupt_at_any_time_says_what_happened_and_no_more(tmp_path, seconds):
    # So long that no epoch ends meanwhile, however fast the machine.
    series = tmp_path / "long.csv"
    series.write_text("value\n" + "\n".join(str(n * n % 97) for n in range(50_000)))
    words = ["train", "forecast", str(series), "--network-alone", "--batch", "1", "-o", str(tmp_path / "run")]
    command = [sys.executable, "-c", INTERRUPTED, str(seconds), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (130, -signal.SIGINT)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert len(said) == 1, said
    assert "interrupted" in said[0]
