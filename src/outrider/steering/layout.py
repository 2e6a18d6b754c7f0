"""What the programs and the agent must agree on, declared once on this side: the twin of ``bpf/layout.h``.

The loader compares both through the object's BTF and refuses an object that differs, so a field moved in one file and
not in the other is found before a packet is. The reference page is generated from here too, which is why every name
carries its sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from struct import Struct

LAYOUT_VERSION = 1

LANES = 4096
TUNNEL_KEYS = 65_536
NO_LANE = 0xFFFF
ENTERING_SLOT = 0xFFFF  # a wire slot that no wire has: the mark of frames on their way into an appliance
ARRIVED_SLOT = 0xFFFE  # another: the mark of what came by the underlay to the tunnel


class State(IntEnum):
    """What a port is (``enum port_state``)."""

    NONE = 0
    HOLD = 1
    PATH = 2
    OPEN = 3
    APPLIANCE = 4
    TUNNEL = 5


class Action(IntEnum):
    """What is done to a packet (``enum action``)."""

    DROP = 0
    PASS = 1
    DELIVER = 2
    ENTER = 3
    TUNNEL = 4


@dataclass(frozen=True, slots=True)
class Field:
    """A bit field of a word."""

    name: str
    shift: int
    bits: int
    meaning: str

    @property
    def limit(self) -> int:
        """One more than the largest value."""
        return 1 << self.bits

    def put(self, value: int) -> int:
        """``value`` in its place; raises ``ValueError`` when it does not fit."""
        if not 0 <= value < self.limit:
            raise ValueError(f"{value} does not fit into the {self.bits} bits of {self.name}")
        return value << self.shift

    def get(self, word: int) -> int:
        """This field of ``word``."""
        return (word >> self.shift) & (self.limit - 1)


PORT_STATE = Field("state", 0, 4, "see below; 0, none, passes nothing")
PORT_AWAIT = Field("await", 4, 1, "deliver nothing to the guest before its first frame from here")
PORT_OPENED_BY = Field("opened_by", 5, 3, "why an open wire is open: no-policy, allow, fail-open, released (from 1)")
PORT_SLOT = Field("slot", 8, 16, "wire slot; on an appliance port, appliance port slot")
PORT_PATH = Field("path", 24, 20, "path slot")
PORT_EPOCH = Field("epoch", 44, 16, "incarnation of the port in its wire slot, part of the mark; never 0")
PORT_WORD = (PORT_STATE, PORT_AWAIT, PORT_OPENED_BY, PORT_SLOT, PORT_PATH, PORT_EPOCH)

ROW_USED = Field("used", 0, 4, "1 when the row is in use")
ROW_STEP = Field("step", 4, 20, "step slot")
ROW_WORD = (ROW_USED, ROW_STEP)

REASONS: Mapping[str, str] = {
    "none": "never used",
    "marked": "passes: carries the mark set for this wire",
    "open": "passes uninspected: the wire is open",
    "onward": "goes one step further",
    "ours": "passes into an appliance or the tunnel: sent by our programs",
    "no-wire": "drop: the port has no wire",
    "held": "drop: the wire is held",
    "awaiting": "drop: the guest has not sent its first frame from here",
    "stale-mark": "drop: marked for another wire, incarnation or direction",
    "loop": "drop: on its way into an appliance, and here again",
    "no-step": "drop: the row names a record that is not filled",
    "not-ours": "drop: something other than our programs sent it into an appliance or the tunnel",
    "unknown-lane": "drop: came out of an appliance without a lane, or on one not in use",
    "probe": "drop: a probe that came out of an appliance; its prover saw it before us",
    "unknown-key": "drop: tunnel identifier not in use, or no tunnel identifier",
    "unknown-peer": "drop: tunnel identifier used by a server it does not belong to",
    "failed": "drop: the kernel could not rewrite the packet (no memory)",
    "not-underlay": "drop: came to the tunnel by another way than the underlay",
}

WIRE_COUNTS: Mapping[str, str] = {
    "first_egress": "from the guest, met for the first time (before any verdict)",
    "first_ingress": "towards the guest, met for the first time (before any verdict)",
    "passed_egress": "inspected, out to the fabric",
    "passed_ingress": "inspected, in to the guest",
    "held_egress": "dropped from the guest: the wire is held",
    "held_ingress": "dropped towards the guest: the wire is held",
    "opened_egress": "uninspected out to the fabric: the wire is open",
    "opened_ingress": "uninspected in to the guest: the wire is open",
    "stale_mark_egress": "dropped: came to this port marked, but not for it now and outwards",
    "stale_mark_ingress": "dropped: came to this port marked, but not for it now and inwards",
    "loop_egress": "dropped: on its way into an appliance, came in by this port",
    "loop_ingress": "dropped: on its way into an appliance, went out by this port",
    "awaiting_ingress": "dropped towards the guest before its first frame from here",
}

APPLIANCE_COUNTS: Mapping[str, str] = {
    "entered": "our frames that went into the appliance by this port (probes included)",
    "left": "frames that came out by this port and went on",
    "refused_in": "dropped: not our frames",
    "refused_out": "dropped on coming out: no lane, a lane not in use, or still marked",
    "probe": "probes that came out, dropped behind their prover",
}

_SCALARS = {"u8": ("B", 1), "u16": ("H", 2), "u32": ("I", 4), "u64": ("Q", 8)}


@dataclass(frozen=True)
class Record:
    """A C structure: its members as (name, type, meaning); a type is u8 … u64, with ``[n]`` for an array of n."""

    name: str
    members: Sequence[tuple[str, str, str]]

    @cached_property
    def packing(self) -> Struct:
        """Packs the members in order; arrays of u8 as bytes. All members here are naturally aligned."""
        return Struct("<" + "".join(_format(kind) for _, kind, _ in self.members))

    @property
    def size(self) -> int:
        """Bytes."""
        return self.packing.size

    def offsets(self) -> dict[str, int]:
        """Byte offset of each member."""
        found, offset = {}, 0
        for name, kind, _ in self.members:
            found[name] = offset
            offset += Struct("<" + _format(kind)).size
        return found


def _format(kind: str) -> str:
    scalar, _, count = kind.rstrip("]").partition("[")
    letter = _SCALARS[scalar][0]
    if not count:
        return letter
    return f"{count}s" if scalar == "u8" else f"{count}{letter}"


STEP = Record(
    "step",
    (
        ("ifindex", "u32", "the port or device to leave by"),
        ("mark", "u32", "deliver: what the vnic program compares with its own"),
        ("tunnel_id", "u32", "tunnel: identifier on the air, key * 2 + direction"),
        ("peer", "u32", "tunnel: the other server, IPv4"),
        ("sender", "u32", "of a tunnel key: the only peer that may use it, IPv4"),
        ("path", "u32", "the low 32 bits of the path's id, for people"),
        ("lane", "u16", "enter: VLAN id"),
        ("action", "u8", "deliver, enter or tunnel; 0 means not filled"),
        ("direction", "u8", "0 egress, 1 ingress"),
        ("reserved", "u32", "0"),
    ),
)
COUNTER = Record(
    "counter",
    (
        ("frames", "u64", "as the wire would see them: a GSO buffer counts ceil(payload / gso_size)"),
        ("bytes", "u64", "of the buffers, link header included, replicated headers not"),
        ("buffers", "u64", "as the kernel carried them: a GSO buffer is one, as in the device's own counters"),
    ),
)
TENANCY = Record(
    "tenancy",
    (
        ("ifindex", "u32", "whose wire slot this is; 0: nobody's"),
        ("epoch", "u32", "of the present or latest tenant"),
    ),
)
IDENTITY = Record(
    "identity",
    (
        ("server", "u8[64]", "whose programs these are: the server's name"),
        ("layout", "u32", "version of this layout"),
        ("mark_mask", "u32", "the bits of skb->mark that are ours"),
    ),
)
SETTINGS = Record(
    "settings",
    (
        ("mark_mask", "u32", "our bits of skb->mark"),
        ("mark_flag", "u32", "set in every mark of ours"),
        ("mark_ingress", "u32", "the direction bit"),
        ("mark_entering", "u32", "the mark of frames on their way into an appliance or the tunnel"),
        ("mark_arrived", "u32", "the mark of what came by the underlay to the tunnel"),
        ("epoch_shift", "u32", "of the epoch"),
        ("wire_shift", "u32", "of the wire slot"),
        ("tunnel_port", "u32", "the tunnel's UDP port"),
        ("trace", "u32[3]", "a packet whose cb[] begins so asks, and changes nothing"),
    ),
)
RECORDS = (STEP, COUNTER, TENANCY, IDENTITY, SETTINGS)


@dataclass(frozen=True, slots=True)
class Map:
    """A table in the kernel. ``value`` is the size of one value in bytes; per-CPU tables hold one per CPU."""

    name: str
    value: int
    index: str
    meaning: str
    is_per_cpu: bool = False

    @property
    def stride(self) -> int:
        """Distance of two values in the mapped array: the kernel rounds up to 8 bytes."""
        return (self.value + 7) // 8 * 8


PORTS = Map("ports", 8, "ifindex", "the word of each port")
LANE_ROWS = Map("lanes", 8, "appliance port slot * 4096 + VLAN id", "where what leaves an appliance on a lane goes")
KEY_ROWS = Map("keys", 8, "tunnel identifier", "where what arrives through the tunnel goes")
PATHS = Map("paths", 2 * STEP.size, "path slot", "immutable: the first step for egress, then for ingress")
STEPS = Map("steps", STEP.size, "step slot", "immutable: one step")
ANNOUNCED = Map("announced", 4, "wire slot", "the epoch in which the guest has sent; written by the program itself")
TENANCIES = Map("tenancies", TENANCY.size, "wire slot", "which port the slot belongs to; read by agents only")
IDENTITIES = Map("or_identity", IDENTITY.size, "0", "whose tables these are; read by agents only")
WIRE_COUNTERS = Map("wire_counters", len(WIRE_COUNTS) * COUNTER.size, "wire slot", "counters of each wire", True)
VSA_COUNTERS = Map(
    "vsa_counters",
    len(APPLIANCE_COUNTS) * COUNTER.size,
    "appliance port slot",
    "counters of each appliance port",
    True,
)
DROPS = Map("drops", len(REASONS) * COUNTER.size, "0", "everything dropped anywhere, by reason", True)
MAPS = (
    PORTS,
    LANE_ROWS,
    KEY_ROWS,
    PATHS,
    STEPS,
    ANNOUNCED,
    TENANCIES,
    IDENTITIES,
    WIRE_COUNTERS,
    VSA_COUNTERS,
    DROPS,
)


class Hook(IntEnum):
    """The programs, numbered as in ``enum hook``."""

    FROM_GUEST = 0
    TO_GUEST = 1
    FROM_APPLIANCE = 2
    TO_APPLIANCE = 3
    FROM_TUNNEL = 4
    TO_TUNNEL = 5
    FROM_UNDERLAY = 6


@dataclass(frozen=True, slots=True)
class Program:
    """One program. ``is_ingress`` is the kernel's word (tc ingress), not relative to the guest."""

    name: str
    hook: Hook
    is_ingress: bool
    meaning: str


PROGRAM_PREFIX = "or_"
FROM_GUEST = Program("or_from_guest", Hook.FROM_GUEST, True, "what a vnic port receives from its guest")
TO_GUEST = Program("or_to_guest", Hook.TO_GUEST, False, "what a vnic port is about to hand to its guest")
FROM_APPLIANCE = Program("or_from_vsa", Hook.FROM_APPLIANCE, True, "what comes out of an appliance")
TO_APPLIANCE = Program("or_to_vsa", Hook.TO_APPLIANCE, False, "what is about to go into an appliance")
FROM_TUNNEL = Program("or_from_tunnel", Hook.FROM_TUNNEL, True, "what arrives through the tunnel, unwrapped")
TO_TUNNEL = Program("or_to_tunnel", Hook.TO_TUNNEL, False, "what is about to be wrapped and sent to another server")
FROM_UNDERLAY = Program(
    "or_from_under",
    Hook.FROM_UNDERLAY,
    True,
    "what the underlay's interface receives: says so of what is for the tunnel",
)
PROGRAMS = (FROM_GUEST, TO_GUEST, FROM_APPLIANCE, TO_APPLIANCE, FROM_TUNNEL, TO_TUNNEL, FROM_UNDERLAY)


def enumerations() -> dict[str, dict[str, int]]:
    """The C enumerations as this side believes them: name of the enumeration, then of each constant."""
    reasons = {f"REASON_{name.upper().replace('-', '_')}": i for i, name in enumerate(REASONS)}
    wire = {name.upper(): i for i, name in enumerate(WIRE_COUNTS) if name.endswith("_egress")}
    appliance = ("ENTERED", "LEFT", "REFUSED_IN", "REFUSED_OUT", "PROBES")
    return {
        "direction": {"EGRESS": 0, "INGRESS": 1},
        "hook": {f"HOOK_{hook.name}": hook.value for hook in Hook},
        "port_state": {f"PORT_{state.name}": state.value for state in State},
        "action": {f"ACTION_{action.name}": action.value for action in Action},
        "reason": {**reasons, "REASONS": len(REASONS)},
        "port_word": _word_constants("PORT", PORT_WORD),
        "row_word": _word_constants("ROW", ROW_WORD),
        "limit": {"LANES": LANES, "TUNNEL_KEYS": TUNNEL_KEYS, "PROBE_LANE": 4094, "NO_LANE": NO_LANE},
        "wire_count": {**wire, "AWAITING_INGRESS": 12, "WIRE_COUNTS": len(WIRE_COUNTS)},
        "appliance_count": {name: i for i, name in enumerate(appliance)} | {"APPLIANCE_COUNTS": len(APPLIANCE_COUNTS)},
    }


def _word_constants(prefix: str, fields: Sequence[Field]) -> dict[str, int]:
    constants = {}
    for field in fields:
        constants[f"{prefix}_{field.name.upper()}_SHIFT"] = field.shift
        constants[f"{prefix}_{field.name.upper()}_BITS"] = field.bits
    return constants
