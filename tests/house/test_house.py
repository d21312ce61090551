"""The house's own rules: its layers, what importing it loads, and that public names are described."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import elman

ROOT = Path(elman.__file__).parent

# A file imports from its own line (and, in a folder, its own folder) and from the lines above it.
LAYERS = [
    {"errors"},
    {"internals", "shapes", "ranks"},
    {"options"},
    {"choices"},
    {"sequences"},
    {"equations"},
    {"cells"},
    {"backends"},
    {"stepping"},
    {"layers"},
    {"linear"},
    {"insight"},
    {"metrics"},
    {"data"},
    {"tasks"},
    {"training"},
    {"pictures"},
    {"jobs"},
    {"report"},
    {"serve", "export"},
    {"checks", "bench"},
    {"cli"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
HEAVY = [
    "matplotlib",
    "polars",
    "narwhals",
    "rich",
    "typer",
    "pydantic",
    "llvmlite",
    "triton",
    "pandas",
    "urllib.request",
]
FILES = [pytest.param(f, id=str(f.relative_to(ROOT))) for f in sorted(ROOT.rglob("*.py"))]


def part_of(file: Path) -> str:
    """The line of the house a file stands on: its folder below elman, or its own name."""
    first = file.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imported(tree: ast.AST, package: list[str]) -> Iterator[tuple[str, int]]:
    """The parts of elman that a file imports, with the line of each import."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "elman" else [module]
        for name in names:
            top, *rest = name.split(".")
            if top == "elman" and rest:
                yield rest[0], node.lineno


def below(file: Path, source: str) -> list[str]:
    """The imports of ``file`` that reach down the house, worded."""
    package = ["elman", *file.relative_to(ROOT).parts[:-1]]
    own = part_of(file)
    return [
        f"{file.relative_to(ROOT)}:{line} imports elman.{part}, which stands below {own}"
        for part, line in imported(ast.parse(source), package)
        if part != own and RANK.get(part, -1) >= RANK[own]
    ]


@pytest.mark.parametrize("file", FILES)
def test_layers(file):
    if file == ROOT / "__init__.py" or file.name == "__main__.py":
        return
    assert part_of(file) in RANK, f"{file} stands on no line of the house: add it to LAYERS and to the design"
    assert not below(file, file.read_text())


ROOMS = ["llvm", "layout", "functions", "kernels", "call"]  # of backends/cpu: each may use those before it


def misplaced(room: str, source: str) -> list[str]:
    """The imports of a file of ``room`` that reach into a later one."""
    found = re.findall(r"^ *from elman\.backends\.cpu(?:\.(\w+))?[. ]", source, re.MULTILINE)
    return [name for name in found if name not in ROOMS[: ROOMS.index(room) + 1]]


@pytest.mark.parametrize("room", ROOMS)
def test_the_cpu_backend_is_one_way_inside_too(room):
    files = sorted((ROOT / "backends" / "cpu" / room).glob("*.py"))
    assert len(files) > 3
    for file in files:
        assert not misplaced(room, file.read_text()), file


def other_backends(source: str) -> list[str]:
    """The compilers and backends that a file of the plan imports, or of a backend beside its own."""
    return re.findall(r"^ *(?:from|import) (llvmlite|triton|elman\.backends\.(?:cpu|triton))\b", source, re.MULTILINE)


def test_the_plan_knows_no_compiler_and_no_backend_another():
    for file in sorted((ROOT / "backends" / "plan").glob("*.py")):
        assert not other_backends(file.read_text()), file
    for backend, other in (("cpu", "triton"), ("triton", "cpu")):
        for file in sorted((ROOT / "backends" / backend).rglob("*.py")):
            assert f"elman.backends.{other}" not in other_backends(file.read_text()), file


def test_the_room_test_can_fail():
    assert misplaced("llvm", "    from elman.backends.cpu.kernels import tiles") == ["kernels"]
    assert misplaced("kernels", "from elman.backends.cpu import backend") == [""]
    assert not misplaced("call", "from elman.backends.cpu.llvm.code import Code")
    assert other_backends("import llvmlite\nfrom elman.backends.cpu.llvm import code") == [
        "llvmlite",
        "elman.backends.cpu",
    ]


def test_what_is_not_public_in_torch_stands_in_one_file():
    private = re.compile(r"torch\._(?!_)|forward_ad\._|torch\.\w+\._[a-z]|_dynamo_marked")
    for file in ROOT.rglob("*.py"):
        if file.name != "internals.py":
            assert not private.search(file.read_text()), file


def test_the_layer_test_can_fail():
    file = ROOT / "equations" / "new.py"
    for source in (
        "from elman.layers import Recurrent",
        "import elman.layers.stack",
        "from elman import layers",
        "from ..layers import stack",
        "def f():\n    from elman.cells import get",
    ):
        assert len(below(file, source)) == 1, source
    for source in ("from elman.errors import ElmanError", "from . import ops", "from elman.equations.ops import TABLE"):
        assert not below(file, source), source


@pytest.mark.full
def test_importing_elman_stays_light():
    check = f"import sys, elman; print([m for m in {HEAVY!r} if m in sys.modules])"
    # What torch itself loads is not ours.
    torch_alone = f"import sys, torch; print([m for m in {HEAVY!r} if m in sys.modules])"
    found, own = (
        set(
            ast.literal_eval(
                subprocess.run([sys.executable, "-c", c], capture_output=True, text=True, check=True).stdout
            )
        )
        for c in (check, torch_alone)
    )
    assert found <= own, (
        f"`import elman` loads {', '.join(sorted(found - own))}: import it in the function that needs it"
    )


def modules() -> list[str]:
    return sorted(m.name for m in pkgutil.walk_packages([str(ROOT)], "elman.") if "__main__" not in m.name)


def public(module: object) -> Iterator[tuple[str, object]]:
    """Classes, functions and their public methods that a module defines."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value) or inspect.isfunction(value):
            yield name, value
        if inspect.isclass(value):
            for member, inner in vars(value).items():
                if not member.startswith("_") and isinstance(
                    inner, property | staticmethod | classmethod | type(public)
                ):
                    yield f"{name}.{member}", getattr(inner, "__func__", inner)


# A layer's forward and a cell's equations are described; what only carries out an inherited contract need not be.
INHERITED = {"pointwise"}


@pytest.mark.parametrize("name", modules())
def test_public_names_have_docstrings(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "elman").startswith("elman"):
            raise
        pytest.skip(f"{name} needs {error.name}, which is not installed")
    assert module.__doc__, name
    bare = [n for n, value in public(module) if not inspect.getdoc(value) and n.split(".")[-1] not in INHERITED]
    assert not bare, f"{name}: no docstring on {', '.join(bare)}"


# Words that begin a riddle and no description.
RIDDLES = ("Of ", "To ", "Whom ", "The same", "What there is")


def exported() -> Iterator[tuple[str, object]]:
    """What users import: the names in the ``__all__`` of packages, and the methods of these classes."""
    for path in sorted(ROOT.glob("*/__init__.py")):
        module = importlib.import_module(f"elman.{path.parent.name}")
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value
            if inspect.isclass(value) and value.__module__.startswith("elman"):
                members = ((n, v) for n, v in vars(value).items() if not n.startswith("_"))
                yield from ((f"{module.__name__}.{name}.{n}", v) for n, v in members if inspect.isfunction(v))


def test_first_lines_say_in_a_line_what_a_name_is_or_does():
    for name, value in exported():
        first = (inspect.getdoc(value) or "").partition("\n")[0]
        assert len(first) <= 88, f"{name}: {first}"
        assert not first or first.endswith((".", "::", ":", "?")), f"{name}: {first}"
        assert not first.startswith(RIDDLES), f"{name}: {first}"


def test_all_names_what_is_there():
    for name in ("elman", "elman.equations", "elman.cells", "elman.backends", "elman.layers"):
        module = importlib.import_module(name)
        assert len(set(module.__all__)) == len(module.__all__)
        for public_name in module.__all__:
            assert getattr(module, public_name) is not None, public_name


@pytest.mark.parametrize("file", FILES)
def test_files_stay_small(file):
    lines = file.read_text().splitlines()
    assert len(lines) <= 400, f"{file} has {len(lines)} lines; split it"
    assert not any("TO" + "DO" in line for line in lines)
    assert file.stem not in ("utils", "helpers", "misc", "common")


def messages(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The texts of what a file raises, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value, part.lineno


@pytest.mark.parametrize("file", [f for f in FILES if part_of(f.values[0]) not in ("cli", "__main__")])
def test_messages_below_the_command_line_name_arguments_and_no_options(file):
    said = [
        f"line {line}: {text}" for text, line in messages(ast.parse(file.read_text())) if re.search("--[a-z{]", text)
    ]
    assert not said, "write `name`: the command line makes --name of it"
