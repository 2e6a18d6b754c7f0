"""libbpf by ctypes: open an object, size its maps or put existing ones in their place, and load it.

Only what loading needs. libbpf does the relocations and creates the maps; everything after that is done with file
descriptors and ``syscall``, so the object is closed at once and the programs live by their descriptors and their ports.
"""

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_KIND_STRUCT, _KIND_ENUM = 4, 6
_WARN = 0


class LoadFailed(Exception):
    """The programs cannot be loaded here; the message says why."""


class _BtfType(ctypes.Structure):
    _fields_ = (("name_off", ctypes.c_uint32), ("info", ctypes.c_uint32), ("size", ctypes.c_uint32))


class _BtfMember(ctypes.Structure):
    _fields_ = (("name_off", ctypes.c_uint32), ("type", ctypes.c_uint32), ("offset", ctypes.c_uint32))


class _BtfEnum(ctypes.Structure):
    _fields_ = (("name_off", ctypes.c_uint32), ("value", ctypes.c_int32))


@dataclass(frozen=True, slots=True)
class Loaded:
    """File descriptors of a loaded object's programs and maps, by name."""

    programs: Mapping[str, int]
    maps: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Shape:
    """A structure in an object's BTF: bytes in all, byte offset of each member."""

    size: int
    offsets: Mapping[str, int]


class BpfObject:
    """An object file that is open and not loaded yet. Use ``open_object``."""

    def __init__(self, library: Any, handle: int, log: list[str]) -> None:
        self._lib, self._handle, self._log = library, handle, log

    def resize(self, name: str, entries: int) -> None:
        """Give the map ``name`` this many entries."""
        self._check(self._lib.bpf_map__set_max_entries(self._map(name), entries), f"map {name}")

    def reuse(self, name: str, fd: int) -> None:
        """Use the existing map ``fd`` instead of creating ``name``."""
        self._check(self._lib.bpf_map__reuse_fd(self._map(name), fd), f"map {name}")

    def set_constants(self, data: bytes) -> None:
        """Set the first bytes of the programs' constants (``.rodata``)."""
        size = ctypes.c_size_t()
        rodata = self._map(".rodata")
        address = self._lib.bpf_map__initial_value(rodata, ctypes.byref(size))
        if not address or size.value < len(data):
            raise LoadFailed("the programs' constants are not where they should be")
        ctypes.memmove(address, data, len(data))

    def load(self, programs: tuple[str, ...], maps: tuple[str, ...]) -> Loaded:
        """Create the maps, verify and load the programs. Raises ``LoadFailed`` with what the kernel said."""
        if self._lib.bpf_object__load(self._handle) < 0:
            raise LoadFailed(f"the kernel refuses the steering programs: {self._said()}")
        return Loaded(
            {name: self._duplicate(self._lib.bpf_program__fd(self._program(name)), name) for name in programs},
            {name: self._duplicate(self._lib.bpf_map__fd(self._map(name)), name) for name in maps},
        )

    def shape_of(self, name: str) -> Shape | None:
        """The structure ``name`` in the object's BTF."""
        found = self._btf_type(name, _KIND_STRUCT)
        if found is None:
            return None
        address, header = found
        members = (_BtfMember * (header.info & 0xFFFF)).from_address(address + ctypes.sizeof(_BtfType))
        return Shape(header.size, {self._btf_name(member.name_off): member.offset // 8 for member in members})

    def constants_of(self, name: str) -> dict[str, int] | None:
        """The enumeration ``name`` in the object's BTF."""
        found = self._btf_type(name, _KIND_ENUM)
        if found is None:
            return None
        address, header = found
        values = (_BtfEnum * (header.info & 0xFFFF)).from_address(address + ctypes.sizeof(_BtfType))
        return {self._btf_name(value.name_off): value.value for value in values}

    def _btf_type(self, name: str, kind: int) -> tuple[int, _BtfType] | None:
        btf = self._lib.bpf_object__btf(self._handle)
        number = self._lib.btf__find_by_name_kind(btf, name.encode(), kind) if btf else -1
        if number < 0:
            return None
        address = self._lib.btf__type_by_id(btf, number)
        return address, _BtfType.from_address(address)

    def _btf_name(self, offset: int) -> str:
        btf = self._lib.bpf_object__btf(self._handle)
        name: bytes = self._lib.btf__name_by_offset(btf, offset)
        return name.decode()

    def _map(self, name: str) -> int:
        found: int | None = self._lib.bpf_object__find_map_by_name(self._handle, name.encode())
        if not found:
            raise LoadFailed(f"the object has no map {name}")
        return found

    def _program(self, name: str) -> int:
        found: int | None = self._lib.bpf_object__find_program_by_name(self._handle, name.encode())
        if not found:
            raise LoadFailed(f"the object has no program {name}")
        return found

    def _duplicate(self, fd: int, name: str) -> int:
        if fd < 0:
            raise LoadFailed(f"{name} was not loaded")
        return os.dup(fd)

    def _check(self, result: int, what: str) -> None:
        if result < 0:
            raise LoadFailed(f"{what}: {os.strerror(-result)} {self._said()}".strip())

    def _said(self) -> str:
        return " ".join("".join(self._log).split())[-2000:] or "it gives no reason"


@contextmanager
def open_object(path: Path) -> Iterator[BpfObject]:
    """Open the object file at ``path``; closed at the end, which leaves loaded programs to their descriptors."""
    library, log = _library(), list[str]()

    def note(level: int, form: bytes, arguments: int | None) -> int:
        if level == _WARN:
            log.append(_formatted(form, arguments))
        return 0

    callback = _PRINT(note)
    former = library.libbpf_set_print(callback)
    handle = library.bpf_object__open_file(str(path).encode(), None)
    try:
        if not handle:
            raise LoadFailed(f"{path.name} is not an object that libbpf can open: {' '.join(log)}")
        yield BpfObject(library, handle, log)
    finally:
        if handle:
            library.bpf_object__close(handle)
        library.libbpf_set_print(ctypes.cast(former, _PRINT))


def _formatted(form: bytes, arguments: int | None) -> str:
    buffer = ctypes.create_string_buffer(16_384)
    ctypes.CDLL(None).vsnprintf(buffer, ctypes.c_size_t(len(buffer)), form, ctypes.c_void_p(arguments))
    return buffer.value.decode(errors="replace")


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError as error:
        raise LoadFailed("libbpf.so.1 is not installed (Debian: libbpf1)") from error
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    signatures: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "libbpf_set_print": (pointer, (_PRINT,)),
        "bpf_object__open_file": (pointer, (text, pointer)),
        "bpf_object__close": (None, (pointer,)),
        "bpf_object__load": (ctypes.c_int, (pointer,)),
        "bpf_object__btf": (pointer, (pointer,)),
        "bpf_object__find_map_by_name": (pointer, (pointer, text)),
        "bpf_object__find_program_by_name": (pointer, (pointer, text)),
        "bpf_program__fd": (ctypes.c_int, (pointer,)),
        "bpf_map__fd": (ctypes.c_int, (pointer,)),
        "bpf_map__set_max_entries": (ctypes.c_int, (pointer, ctypes.c_uint32)),
        "bpf_map__reuse_fd": (ctypes.c_int, (pointer, ctypes.c_int)),
        "bpf_map__initial_value": (pointer, (pointer, ctypes.POINTER(size))),
        "btf__find_by_name_kind": (ctypes.c_int32, (pointer, text, ctypes.c_uint32)),
        "btf__type_by_id": (pointer, (pointer, ctypes.c_uint32)),
        "btf__name_by_offset": (text, (pointer, ctypes.c_uint32)),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, list(arguments)
    return library
