"""The loaded programs and their tables, new or taken over from the agent before."""

import errno
import os
import secrets
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from outrider.steering import layout, syscall
from outrider.steering.arrays import MappedArray, MappedWords
from outrider.steering.attachment import Hooks, program_info
from outrider.steering.libbpf import BpfObject, Loaded, LoadFailed, open_object
from outrider.steering.marks import MarkFields

_MAP_NAMES = tuple(table.name for table in layout.MAPS)
_PROGRAM_NAMES = tuple(program.name for program in layout.PROGRAMS)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there may be on one server; about 24 bytes of kernel memory for each counter of a wire and CPU.

    ``ifindexes`` bounds the interface numbers that can be steered (8 bytes each); a port beyond it is refused.
    """

    ifindexes: int = 1 << 20
    wires: int = 4096
    appliance_ports: int = 64
    paths: int = 1 << 14
    steps: int = 1 << 16

    def entries(self) -> Mapping[str, int]:
        """Entries of each table."""
        return {
            "ports": self.ifindexes,
            "lanes": self.appliance_ports * layout.LANES,
            "keys": layout.TUNNEL_KEYS,
            "paths": self.paths,
            "steps": self.steps,
            "announced": self.wires,
            "tenancies": self.wires,
            "or_identity": 1,
            "wire_counters": self.wires,
            "vsa_counters": self.appliance_ports,
            "drops": 1,
        }


class Tables:
    """Programs by file descriptor and id, tables mapped. ``is_adopted``: an earlier agent's tables, as it left them."""

    def __init__(self, loaded: Loaded, trace: bytes, is_adopted: bool) -> None:
        self.program_fds, self.map_fds = dict(loaded.programs), dict(loaded.maps)
        self.trace, self.is_adopted = trace, is_adopted
        self.program_ids = {name: syscall.program_info(fd).id for name, fd in self.program_fds.items()}
        fds = self.map_fds
        entries = {name: syscall.map_info(fd).max_entries for name, fd in fds.items()}
        self.ports = MappedWords(fds["ports"], layout.PORTS, entries["ports"])
        self.lanes = MappedWords(fds["lanes"], layout.LANE_ROWS, entries["lanes"])
        self.keys = MappedWords(fds["keys"], layout.KEY_ROWS, entries["keys"])
        self.paths = MappedArray(fds["paths"], layout.PATHS, entries["paths"])
        self.steps = MappedArray(fds["steps"], layout.STEPS, entries["steps"])
        self.announced = MappedArray(fds["announced"], layout.ANNOUNCED, entries["announced"])
        self.tenancies = MappedArray(fds["tenancies"], layout.TENANCIES, entries["tenancies"])

    def maps_of(self, program_id: int) -> frozenset[int]:
        """Ids of the maps of any loaded program; none when it is gone."""
        info = program_info(program_id)
        return frozenset(info.map_ids) if info else frozenset()

    @property
    def own_maps(self) -> frozenset[int]:
        """Ids of these tables."""
        return frozenset(syscall.map_info(fd).id for fd in self.map_fds.values())

    def take_programs_of(self, other: "Tables") -> None:
        """Use another instance of the programs, loaded beside these on the same tables."""
        syscall.close_all(self.program_fds.values())
        self.program_fds, self.program_ids, self.trace = other.program_fds, other.program_ids, other.trace
        other.program_fds = {}
        other.close()

    def close(self) -> None:
        """Let go of everything; what is attached goes on."""
        for array in (self.ports, self.lanes, self.keys, self.paths, self.steps, self.announced, self.tenancies):
            array.close()
        syscall.close_all([*self.program_fds.values(), *self.map_fds.values()])


def load_tables(
    object_path: Path, server: str, marks: MarkFields, tunnel_port: int, sizes: Sizes, hooks: Hooks
) -> Tables:
    """Load the programs, on the tables that this server's programs on its ports use already, if there are any.

    Raises ``LoadFailed`` when the object does not agree with ``layout`` or the kernel refuses it.
    """
    existing = _find_existing(server, hooks)
    try:
        tables = load_beside(object_path, marks, tunnel_port, sizes, existing)
    finally:
        syscall.close_all(existing.values())
    if not tables.is_adopted:
        identity = layout.IDENTITY.packing.pack(server_name(server), layout.LAYOUT_VERSION, marks.mask)
        syscall.update(tables.map_fds["or_identity"], 0, identity)
    return tables


def load_beside(
    object_path: Path, marks: MarkFields, tunnel_port: int, sizes: Sizes, existing: Mapping[str, int]
) -> Tables:
    """Load the programs on ``existing`` tables (file descriptors by name; none: on new ones)."""
    trace = secrets.token_bytes(12)
    with open_object(object_path) as opened:
        check_layout(opened)
        for name, entries in sizes.entries().items():
            if name in existing:
                opened.reuse(name, existing[name])
            else:
                opened.resize(name, entries)
        opened.set_constants(_constants(marks, tunnel_port, trace))
        loaded = opened.load(_PROGRAM_NAMES, _MAP_NAMES)
    # A program holds the tables it uses; bound to all of them, any one program leads the next agent to every table.
    for program in loaded.programs.values():
        for table in loaded.maps.values():
            syscall.bind_map(program, table)
    return Tables(loaded, trace, bool(existing))


def _constants(marks: MarkFields, tunnel_port: int, trace: bytes) -> bytes:
    return layout.SETTINGS.packing.pack(
        marks.mask,
        marks.flag,
        marks.ingress,
        marks.entering,
        marks.arrived,
        marks.epoch_shift,
        marks.wire_shift,
        tunnel_port,
        *struct.unpack("<III", trace),
    )


def check_layout(opened: BpfObject) -> None:
    """Raises ``LoadFailed`` where the object's BTF and ``layout`` differ."""
    for record in layout.RECORDS:
        shape = opened.shape_of(record.name)
        offsets = dict(shape.offsets) if shape else {}
        offsets.pop("vocabulary", None)  # brings the enumerations along, and holds nothing
        if offsets != record.offsets():
            raise LoadFailed(f"the programs were built for another layout of struct {record.name}")
    for name, constants in layout.enumerations().items():
        if opened.constants_of(name) != constants:
            raise LoadFailed(f"the programs were built for other values of enum {name}")


def _find_existing(server: str, hooks: Hooks) -> dict[str, int]:
    """The tables of this server's programs, by file descriptor; empty when no port has any."""
    for program_id in dict.fromkeys(_programs_on_ports(hooks)):
        info = program_info(program_id)
        if info is None or not info.name.startswith(layout.PROGRAM_PREFIX):
            continue
        maps = _maps_of(info)
        if _are_of(server, maps):
            return maps
        syscall.close_all(maps.values())
    return {}


def _programs_on_ports(hooks: Hooks) -> Iterator[int]:
    for ifindex, _ in socket.if_nameindex():
        for is_ingress in (True, False):
            try:
                yield from hooks.programs(ifindex, is_ingress)
            except OSError as error:
                if error.errno != errno.ENODEV:  # gone since it was listed
                    raise


def _maps_of(info: syscall.ProgramInfo) -> dict[str, int]:
    maps = {}
    for number in info.map_ids:
        fd = syscall.map_fd(number)
        name = syscall.map_info(fd).name
        if name in _MAP_NAMES:
            maps[name] = fd
        else:
            os.close(fd)
    return maps


def _are_of(server: str, maps: Mapping[str, int]) -> bool:
    """True for a whole set of tables, of this layout, whose identity names this server."""
    sizes = {table.name: table.value for table in layout.MAPS}
    if {name: syscall.map_info(fd).value_size for name, fd in maps.items()} != sizes:
        return False
    raw = syscall.lookup(maps["or_identity"], 0, layout.IDENTITY.size)
    name, version, _ = layout.IDENTITY.packing.unpack(raw)
    return bool(name.rstrip(b"\0") == server_name(server) and version == layout.LAYOUT_VERSION)


def server_name(server: str) -> bytes:
    """A server's name as the identity holds it."""
    return server.encode()[:63]
