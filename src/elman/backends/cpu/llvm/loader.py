"""Objects placed in memory without LLVM, whose library takes a tenth of a second to load.

What LLVM writes for us on Linux and x86-64 is plain: code and constants that are never written to, and 64-bit
addresses to fill in. Whatever else stands in an object is refused, and llvmlite's engine serves.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import struct
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QIIq")
_MACHINE, _OBJECT = 62, 1  # x86-64; not linked yet
_TABLE, _NO_BITS = 2, 8  # kinds of section
_RELOCATIONS = 4, 9  # with addends and without
_WRITTEN, _ALLOCATED = 1, 2  # a section's flags
_WHOLE, _RELATIVE = 1, 24  # kinds of address, of 64 bits each
_UNDEFINED, _RESERVED = 0, 0xFF00  # sections of symbols that are elsewhere
HERE = sys.platform == "linux" and platform.machine() == "x86_64"


class Unknown(Exception):
    """This loader does not know such an object, or this is another system."""


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    line: int
    entry: int


class Image:
    """An object in memory, where it stays as long as this does; ``outside`` are functions that it may call by name.

    Raises :class:`Unknown`.
    """

    def __init__(self, code: bytes, outside: Mapping[str, int]) -> None:
        if not HERE:
            raise Unknown("another system")
        try:
            self._place(code, outside)
        except (struct.error, IndexError, ValueError, OSError) as error:
            raise Unknown(str(error)) from error

    def get_function_address(self, symbol: str) -> int:
        """Where a function begins; raises KeyError."""
        return self._functions[symbol]

    def _place(self, code: bytes, outside: Mapping[str, int]) -> None:
        _, kind, processor, _, _, _, table, *_, count, _ = _HEADER.unpack_from(code)
        if code[:6] != b"\x7fELF\x02\x01" or (kind, processor) != (_OBJECT, _MACHINE):
            raise Unknown("no object for this processor")
        sections = [_Section(*_SECTION.unpack_from(code, table + i * _SECTION.size)) for i in range(count)]
        for one in sections:
            if one.flags & _ALLOCATED and one.size and (one.kind == _NO_BITS or one.flags & _WRITTEN):
                raise Unknown("data that is written to")
            if one.flags & _ALLOCATED and one.line and one.offset % one.line:
                raise Unknown("a section out of line")
        # The object as it stands, from the start of a page: its sections are where they are in the file.
        self._memory = mmap.mmap(-1, len(code), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory[:] = code
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        symbols = self._symbols(code, sections, start, outside)
        for one in sections:
            target = sections[one.info] if one.kind in _RELOCATIONS else None
            # What is there to unwind the stack is not needed: nothing is thrown.
            if target is not None and target.flags & _ALLOCATED and not _name(code, sections, target).startswith(".eh"):
                self._fill_in(one, target, start, symbols)
        if _mprotect()(start, len(code), mmap.PROT_READ | mmap.PROT_EXEC):
            raise Unknown("memory that may not be run")

    def _symbols(self, code: bytes, sections: list[_Section], start: int, outside: Mapping[str, int]) -> list[int]:
        """The address of every symbol."""
        (table,) = (one for one in sections if one.kind == _TABLE)
        names, found, self._functions = sections[table.link], list[int](), dict[str, int]()
        for i in range(table.size // _SYMBOL.size):
            at, _, _, section, value, _ = _SYMBOL.unpack_from(code, table.offset + i * _SYMBOL.size)
            name = _text(code, names.offset + at)
            if section == _UNDEFINED:
                found.append((outside.get(name) or _of_process(name)) if name else 0)
            elif section >= _RESERVED:
                found.append(0)  # the file's name
            else:
                found.append(start + sections[section].offset + value)
                self._functions[name] = found[-1]
        return found

    def _fill_in(self, table: _Section, target: _Section, start: int, symbols: list[int]) -> None:
        if table.entry != _RELOCATION.size:
            raise Unknown("relocations without addends")
        for i in range(table.size // table.entry):
            place, kind, symbol, addend = _RELOCATION.unpack_from(self._memory, table.offset + i * table.entry)
            value, here = symbols[symbol] + addend, target.offset + place
            if kind not in (_WHOLE, _RELATIVE) or not symbols[symbol]:
                raise Unknown(f"a relocation of kind {kind}")
            value -= start + here if kind == _RELATIVE else 0
            struct.pack_into("<q", self._memory, here, value)


def _name(code: bytes, sections: list[_Section], section: _Section) -> str:
    index = _HEADER.unpack_from(code)[-1]
    return _text(code, sections[index].offset + section.name)


def _text(code: bytes, at: int) -> str:
    return code[at : code.index(b"\0", at)].decode()


@functools.cache
def _process() -> Any:
    return ctypes.CDLL(None)


def _of_process(name: str) -> int:
    """The address of a function of the C library, such as memset."""
    try:
        return ctypes.cast(getattr(_process(), name), ctypes.c_void_p).value or 0
    except AttributeError:
        raise Unknown(f"nothing is called {name}") from None


@functools.cache
def _mprotect() -> Any:
    function = _process().mprotect
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int], ctypes.c_int
    return function
