"""The few bpf(2) calls that ``doctor`` needs to look at a kernel without changing it.

The data path has its own, larger layer; this one must work, and say why it cannot, where that one does not load.
Numbers are those of linux/bpf.h.
"""

import ctypes
import os
import platform
import struct

_SYSCALLS = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _GET_FD_BY_ID, _OBJ_GET_INFO, _PROG_QUERY = 0, 13, 15, 16
_MAP_TYPE_ARRAY = 2
TCX_INGRESS, TCX_EGRESS = 46, 47
_MAX_PROGRAMS = 64
_NAME_OFFSET, _INFO_BYTES = 64, 128  # struct bpf_prog_info: name[16] follows map_ids


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """(result, the attributes as the kernel left them). Raises ``OSError``."""
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise OSError(f"unknown machine {platform.machine()}")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(number, command, buffer, len(attributes))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result, buffer.raw


def try_map() -> None:
    """Make a small map and let go of it. Raises ``OSError`` when this process may not use BPF."""
    descriptor, _ = _bpf(_MAP_CREATE, struct.pack("IIII", _MAP_TYPE_ARRAY, 4, 8, 1) + bytes(56))
    os.close(descriptor)


def programs_on(ifindex: int, attach_type: int) -> list[int]:
    """The ids of the tcx programs on an interface, first to run first. Raises ``OSError`` (EINVAL: no tcx)."""
    ids = (ctypes.c_uint32 * _MAX_PROGRAMS)()
    attributes = struct.pack("IIIIQI", ifindex, attach_type, 0, 0, ctypes.addressof(ids), _MAX_PROGRAMS) + bytes(36)
    _, answer = _bpf(_PROG_QUERY, attributes)
    (count,) = struct.unpack_from("I", answer, 24)
    return list(ids[:count])


def program_name(program: int) -> str:
    """The name of a loaded program (at most 15 characters). Raises ``OSError``."""
    descriptor, _ = _bpf(_GET_FD_BY_ID, struct.pack("III", program, 0, 0) + bytes(52))
    try:
        info = ctypes.create_string_buffer(_INFO_BYTES)
        _bpf(_OBJ_GET_INFO, struct.pack("IIQ", descriptor, _INFO_BYTES, ctypes.addressof(info)) + bytes(48))
        return info.raw[_NAME_OFFSET : _NAME_OFFSET + 16].partition(b"\0")[0].decode(errors="replace")
    finally:
        os.close(descriptor)
