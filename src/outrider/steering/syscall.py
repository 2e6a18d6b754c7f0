"""bpf(2): the few commands that libbpf 1.1 does not wrap, or that are simpler without it.

Every function raises ``OSError`` with the kernel's errno. Layouts: ``union bpf_attr`` in linux/bpf.h; the fields for
attaching relative to other programs are those of kernel 6.6 and are zero, and so ignored, before it.
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_SYSCALL = {"x86_64": 321, "aarch64": 280}
_libc = ctypes.CDLL(None, use_errno=True)
_ATTR_SIZE = 128


class Command(IntEnum):
    """``enum bpf_cmd``."""

    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    PROG_ATTACH = 8
    PROG_DETACH = 9
    PROG_TEST_RUN = 10
    PROG_GET_FD_BY_ID = 13
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    PROG_QUERY = 16
    PROG_BIND_MAP = 35


TCX_INGRESS, TCX_EGRESS = 46, 47
F_REPLACE, F_BEFORE = 1 << 2, 1 << 3


def bpf(command: Command, attr: bytes) -> tuple[int, bytes]:
    """One system call; returns its value, and ``attr`` as the kernel left it."""
    buffer = ctypes.create_string_buffer(attr, _ATTR_SIZE)
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(f"bpf(2) has no known number on {platform.machine()}")
    result = _libc.syscall(number, int(command), buffer, _ATTR_SIZE)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result, buffer.raw


def _address(buffer: "ctypes.Array[ctypes.c_char]") -> int:
    return ctypes.addressof(buffer)


# -- programs on devices (tcx)


def attach(ifindex: int, hook: int, program: int, flags: int, replaced: int = 0) -> None:
    """Attach program fd ``program`` to a tcx hook; with ``F_REPLACE`` in the place of fd ``replaced``."""
    bpf(Command.PROG_ATTACH, struct.pack("<IIIII", ifindex, program, hook, flags, replaced))


def detach(ifindex: int, hook: int, program: int) -> None:
    """Detach program fd ``program`` from a tcx hook."""
    bpf(Command.PROG_DETACH, struct.pack("<IIII", ifindex, program, hook, 0))


def query(ifindex: int, hook: int, limit: int = 64) -> list[int]:
    """Ids of the programs on a tcx hook, in the order they run (links included). EINVAL: no tcx; ENODEV: no device."""
    ids = (ctypes.c_uint32 * limit)()
    attr = struct.pack("<IIIIQI", ifindex, hook, 0, 0, ctypes.addressof(ids), limit)
    _, answer = bpf(Command.PROG_QUERY, attr)
    return list(ids[: struct.unpack_from("<I", answer, 24)[0]])


# -- objects by id


def program_fd(program_id: int) -> int:
    """A file descriptor of a loaded program; ENOENT when it is gone."""
    return bpf(Command.PROG_GET_FD_BY_ID, struct.pack("<I", program_id))[0]


def bind_map(program: int, table: int) -> None:
    """Make program fd ``program`` hold map fd ``table`` (kernel 5.10), as if it used it."""
    bpf(Command.PROG_BIND_MAP, struct.pack("<III", program, table, 0))


def map_fd(map_id: int) -> int:
    """A file descriptor of a map; ENOENT when it is gone."""
    return bpf(Command.MAP_GET_FD_BY_ID, struct.pack("<I", map_id))[0]


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """Part of ``struct bpf_prog_info``."""

    id: int
    name: str
    map_ids: tuple[int, ...]


def program_info(fd: int, limit: int = 64) -> ProgramInfo:
    """What the kernel says of a program."""
    maps = (ctypes.c_uint32 * limit)()
    info = ctypes.create_string_buffer(232)
    struct.pack_into("<I", info, 52, limit)
    struct.pack_into("<Q", info, 56, ctypes.addressof(maps))
    bpf(Command.OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", fd, len(info), _address(info)))
    count = struct.unpack_from("<I", info, 52)[0]
    return ProgramInfo(struct.unpack_from("<I", info, 4)[0], _text(info.raw[64:80]), tuple(maps[:count]))


@dataclass(frozen=True, slots=True)
class MapInfo:
    """Part of ``struct bpf_map_info``."""

    id: int
    name: str
    value_size: int
    max_entries: int


def map_info(fd: int) -> MapInfo:
    """What the kernel says of a map."""
    info = ctypes.create_string_buffer(88)
    bpf(Command.OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", fd, len(info), _address(info)))
    _, number, _, value_size, max_entries, _ = struct.unpack_from("<6I", info)
    return MapInfo(number, _text(info.raw[24:40]), value_size, max_entries)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode()


# -- values


def lookup(fd: int, key: int, size: int) -> bytes:
    """The value under ``key``: ``size`` bytes, for per-CPU maps those of all possible CPUs."""
    wanted = ctypes.create_string_buffer(struct.pack("<I", key), 4)
    value = ctypes.create_string_buffer(size)
    bpf(Command.MAP_LOOKUP_ELEM, struct.pack("<IIQQQ", fd, 0, _address(wanted), _address(value), 0))
    return value.raw


def update(fd: int, key: int, value: bytes) -> None:
    """Write ``value`` under ``key``; for per-CPU maps it is the values of all possible CPUs, joined."""
    wanted = ctypes.create_string_buffer(struct.pack("<I", key), 4)
    given = ctypes.create_string_buffer(value, len(value))
    bpf(Command.MAP_UPDATE_ELEM, struct.pack("<IIQQQ", fd, 0, _address(wanted), _address(given), 0))


def possible_cpus() -> int:
    """How many values a per-CPU map keeps for each key."""
    ranges = Path("/sys/devices/system/cpu/possible").read_text(encoding="ascii").strip().split(",")
    return max(int(part.rpartition("-")[2]) for part in ranges) + 1


# -- running without a packet


@dataclass(frozen=True, slots=True)
class Run:
    """What ``BPF_PROG_TEST_RUN`` gave back. ``duration_ns`` is the mean of one repetition."""

    returned: int
    context: bytes
    duration_ns: int


def test_run(fd: int, frame: bytes, context: bytes, repeat: int = 1) -> Run:
    """Run a tc program on ``frame`` with ``context`` as its ``struct __sk_buff``."""
    data = ctypes.create_string_buffer(frame, len(frame))
    out = ctypes.create_string_buffer(len(frame) + 256)
    before = ctypes.create_string_buffer(context, len(context))
    after = ctypes.create_string_buffer(len(context))
    attr = struct.pack(
        "<IIIIQQIIIIQQ",
        fd,
        0,
        len(frame),
        len(out),
        _address(data),
        _address(out),
        repeat,
        0,
        len(context),
        len(context),
        _address(before),
        _address(after),
    )
    _, answer = bpf(Command.PROG_TEST_RUN, attr)
    returned, duration = struct.unpack_from("<I", answer, 4)[0], struct.unpack_from("<I", answer, 36)[0]
    return Run(returned, after.raw, duration)


def close_all(fds: Iterable[int]) -> None:
    """Close file descriptors."""
    for fd in fds:
        os.close(fd)
