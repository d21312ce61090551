"""Kernels that are kept for the next process: equal bits, and nothing that is wrong with the folder does harm.

And how they come to stand in memory.
"""

from __future__ import annotations

import ast
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

import elman
from elman.backends.cpu.llvm import compiler, loader, machine, objects

CODE = """define i64 @entry() {{
  ret i64 {0}
}}"""
TRAIN = """import sys, torch, elman
from elman.backends.cpu.llvm import compiler, loader
def refuse(*_): raise AssertionError("compiled")
if "kept" in sys.argv: compiler._compile = refuse
torch.manual_seed(0)
layer = elman.GRU(3, 5)
x = torch.randn(7, 4, 3)
output, _ = layer(x)
output.square().sum().backward()
if "kept" in sys.argv and loader.HERE: assert "llvmlite.ir" not in sys.modules, "the writers were loaded"
if "kept" in sys.argv and loader.HERE: assert "llvmlite.binding" not in sys.modules, "LLVM was loaded"
print(*(t.double().sum().item().hex() for t in (output, *(p.grad for p in layer.parameters()))))"""


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    machine.facts(16)  # what is said of the machine is kept too, and known from here on
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path))
    return tmp_path / "kernels"


def built(number):
    code = compiler.build_text(CODE.format(number), 4)
    return ctypes.CFUNCTYPE(ctypes.c_int64)(code.address("entry"))()


def trained(*arguments):
    done = subprocess.run([sys.executable, "-c", TRAIN, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
def test_the_next_process_compiles_nothing_and_has_equal_bits(kernels):
    first = trained()
    assert list(kernels.iterdir())
    assert trained("kept") == first


@pytest.mark.full
def test_two_processes_at_once(kernels):
    command = [sys.executable, "-c", TRAIN]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0] for process in running}
    assert len(said) == 1
    assert said.pop()
    assert all(file.suffix == ".o" for file in kernels.iterdir())


def test_damaged_files_are_made_anew(kernels):
    assert built(7) == 7
    (file,) = kernels.iterdir()
    whole = file.read_bytes()
    for broken in (b"", whole[:20], whole[:-1], whole[:40] + b"\xff" + whole[41:]):
        file.write_bytes(broken)
        assert objects.read(file.stem) is None
        assert built(7) == 7
        assert file.read_bytes() == whole


def test_only_the_user_can_read_and_write(kernels):
    built(8)
    assert kernels.stat().st_mode & 0o777 == 0o700
    assert [f.stat().st_mode & 0o777 for f in kernels.iterdir()] == [0o600]


def test_a_folder_in_which_others_write_is_not_used(kernels):
    kernels.mkdir()
    kernels.chmod(0o777)
    assert built(9) == 9
    assert not list(kernels.iterdir())


@pytest.mark.parametrize("value", ["", "0", "off", "OFF"])
def test_it_can_be_switched_off(monkeypatch, tmp_path, value):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELMAN_CACHE", value)
    assert objects.folder() is None
    assert built(10) == 10
    assert not list(tmp_path.iterdir())


def test_a_place_where_no_folder_can_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ELMAN_CACHE", str(tmp_path / "file"))
    assert built(11) == 11


def test_it_stays_within_its_limit(kernels, monkeypatch):
    monkeypatch.setattr(objects, "LIMIT", 1000)
    for k in range(9):
        objects.write(f"{k}", bytes(200))
        os.utime(kernels / f"{k}.o", (k, k))
    assert sorted(f.stem for f in kernels.iterdir()) == ["5", "6", "7", "8"]
    assert objects.read("5")  # used just now
    objects.write("9", bytes(200))
    assert sorted(f.stem for f in kernels.iterdir()) == ["5", "7", "8", "9"]


def module_of(file, root):
    return ".".join(file.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


def imported(file, known):
    """The modules of elman that a file imports, at its top or inside."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if whole in known else node.module


def test_all_that_writes_kernels_is_in_their_key():
    root = Path(elman.__file__).parent
    known = {module_of(file, root): file for file in root.rglob("*.py")}
    reached, left = set(), ["elman.backends.cpu.kernels.building"]
    while left:
        name = left.pop()
        if name in known and name not in reached:
            reached.add(name)
            left += imported(known[name], known)
    folders = [f"elman.{folder.replace('/', '.')}" for folder in compiler.WRITERS]
    others = {name for name in reached if not name.startswith(tuple(folders))}
    # What these do cannot be seen in a kernel's text.
    assert others == {"elman.errors", "elman.backends.forks"}
    assert "elman.backends.cpu.kernels.tiles" in reached


def test_what_writes_kernels_asks_nothing_of_the_machine_itself():
    root, asked = Path(elman.__file__).parent / "backends", {"os", "sys", "platform", "pathlib", "time", "random"}
    files = [*root.glob("cpu/kernels/*.py"), *root.glob("cpu/functions/*.py"), *root.glob("cpu/layout/*.py")]
    for file in [*files, *root.glob("plan/*.py"), root / "cpu/llvm/kernel.py", root / "cpu/llvm/code.py"]:
        names = {n.name for node in ast.walk(ast.parse(file.read_text())) for n in getattr(node, "names", ())}
        assert not names & asked, file


def test_a_key_follows_from_all_that_has_a_say(monkeypatch):
    keys = {compiler._key("a", 4), compiler._key("b", 4), compiler._key("a", 8)}
    changes = [
        (compiler, "LEVEL", 1), (compiler, "PASSES", ()), (compiler, "_source", lambda: "another"),
        (machine, "first_cache", lambda: 1), (machine, "second_cache", lambda: 1), (machine, "_compiler", lambda: 1),
        (machine.sys, "platform", "another"), (machine.platform, "machine", lambda: "another"),
        (machine, "_host", lambda: ("another", {})),
    ]  # fmt: skip
    for where, name, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(where, name, value)
            keys.add(compiler._key("a", 16))
    keys.add(compiler._key("a", 16))
    assert len(keys) == 3 + len(changes) + 1


def test_another_source_is_another_digest(monkeypatch):
    compiler._source.cache_clear()
    before = compiler._source()
    monkeypatch.setattr(compiler, "WRITERS", compiler.WRITERS[1:])
    compiler._source.cache_clear()
    try:
        assert compiler._source() != before
    finally:
        compiler._source.cache_clear()


def test_without_its_source_nothing_is_kept(kernels, monkeypatch):
    monkeypatch.setattr(compiler, "WRITERS", ("nowhere",))
    compiler._source.cache_clear()
    try:
        assert built(13) == 13
        assert not kernels.exists()
    finally:
        compiler._source.cache_clear()


@pytest.mark.parametrize("told", ["", "vendor_id: x\nflags:", "vendor_id: x"], ids=["nothing", "all", "no flags"])
def test_what_the_system_says_of_the_processor_is_taken_where_it_is_all(told, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(told + "\ncpu MHz: 1\n\nflags: of another")
    monkeypatch.setattr("builtins.open", lambda name, open=open: open(tmp_path / Path(name).name))
    machine._described.cache_clear()
    try:
        kept = [line for line in told.split("\n") if line] if "flags" in told else []
        assert machine._described().split("\n")[:-1] == kept
    finally:
        machine._described.cache_clear()


HERE = pytest.mark.skipif(not loader.HERE, reason="objects are placed by llvmlite's engine here")
OUTSIDE = """declare i64 @elman_test_outside(i64)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
@table = private constant [4 x i64] [i64 3, i64 5, i64 7, i64 11]
@second = private constant [5 x i64] [i64 100, i64 200, i64 300, i64 400, i64 0]
define internal i64 @inner(i64 %i) {
  %at = getelementptr [4 x i64], ptr @table, i64 0, i64 %i
  %value = load i64, ptr %at
  %doubled = call i64 @elman_test_outside(i64 %value)
  %beside = getelementptr [5 x i64], ptr @second, i64 0, i64 %i
  %more = load i64, ptr %beside
  %sum = add i64 %doubled, %more
  ret i64 %sum
}
define i64 @entry(ptr %room, i64 %count, i64 %i) noinline {
  call void @llvm.memset.p0.i64(ptr %room, i8 1, i64 %count, i1 false)
  %value = call i64 @inner(i64 %i)
  ret i64 %value
}"""


def both(text):
    """An object in memory, placed by us and by llvmlite."""
    code = compiler._compile(text, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "HERE", False)
        engine = compiler._load(code, 4)
    return loader.Image(code, compiler._OUTSIDE), engine


@HERE
def test_an_object_is_placed_as_llvm_places_it():
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
    double = kind(lambda value: 2 * value)
    compiler.define("elman_test_outside", ctypes.cast(double, ctypes.c_void_p).value)
    entry = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    for code in both(OUTSIDE):
        run, room = entry(code.get_function_address("entry")), ctypes.create_string_buffer(1000)
        assert [run(ctypes.addressof(room), 999, i) for i in range(4)] == [106, 210, 314, 422]
        assert room.raw == b"\1" * 999 + b"\0"


@HERE
@pytest.mark.parametrize(
    "text",
    [
        "@count = global i64 5\ndefine i64 @entry() {\n %a = load i64, ptr @count\n ret i64 %a\n}",
        "declare i64 @elman_none()\ndefine i64 @entry() {\n %a = call i64 @elman_none()\n ret i64 %a\n}",
    ],
    ids=["written data", "an unknown function"],
)
def test_what_is_not_known_is_refused(text):
    with pytest.raises(loader.Unknown):
        loader.Image(compiler._compile(text, 4), {})


@HERE
def test_what_is_no_object_is_refused():
    whole = compiler._compile(CODE.format(1), 4)
    for broken in (b"", whole[:30], b"x" + whole[1:], whole[:-30], whole[:100] + bytes(len(whole) - 100)):
        with pytest.raises(loader.Unknown):
            loader.Image(broken, {})


@HERE
def test_where_it_cannot_be_placed_llvm_places_it(monkeypatch):
    def refuse(*_):
        raise loader.Unknown

    monkeypatch.setattr(loader, "Image", refuse)
    assert built(12) == 12
