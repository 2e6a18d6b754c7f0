"""How long it takes to move wires from one path to another: the call that does it, and the moment packets feel it.

Some wires of the table have real guests that flood; all the others have ports in name only, since what is measured is
the writing of rows. The flooding wires are the first and the last of the table, so the time from the first packet that
any of them sends along its new path until the last on an old one spans the whole of the writing. Both are seen inside
the two appliances, by the kernel's clock. Where the last on the old path came before the first on the new one, the
effect is 0: how long nothing was sent in between is the flood's affair, not the switch's.
"""

import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from outrider.domain.guest import VnicId
from outrider.domain.intent import ServerIntent, WireIntent
from outrider.domain.wire import Hop, WireState
from outrider.domain.wire import Path as WirePath
from outrider.lab.bench.bed import FIRST_SERVER, Bed
from outrider.lab.bench.figure import Figure
from outrider.lab.bench.flooder import ETHERTYPE
from outrider.lab.bench.outpost import Outpost
from outrider.lab.bench.steersman import Applied, MadeAppliance, Steersman
from outrider.lab.netns_socket import open_socket_in
from outrider.lab.record import ProcessRecord
from outrider.steering import syscall
from outrider.steering.build import build_programs
from outrider.steering.libbpf import open_object

SOURCE = Path(__file__).parent / "witness.bpf.c"
_VISIT = struct.Struct("=QQQ")  # struct visit of the program
_APPLIANCES = ("one", "other")
_FIRST_NAMED_PORT = 1 << 19  # far above what the kernel gives to the few interfaces here
_FIRST_GUEST, _LAST_GUEST = uuid.UUID(int=0), uuid.UUID(int=(1 << 128) - 1)
_SEEN_WITHIN_S = 3.0
_SETTLE_S = 0.02  # what still comes along the old path comes within this time, or is a fault that the next switch shows


class SwitchFailed(Exception):
    """A switch did not do what it should; the message says what was seen."""


class ApplianceWitness:
    """Sees what enters one appliance; lives in an outpost in the appliance's own namespace."""

    def __init__(self, cache_dir: Path) -> None:
        with open_object(build_programs(cache_dir, SOURCE)) as opened:
            loaded = opened.load(("sw_witness",), ("visits",))
        syscall.attach(socket.if_nametoindex("eth0"), syscall.TCX_INGRESS, loaded.programs["sw_witness"], 0)
        self._visits = loaded.maps["visits"]

    def forget(self, lanes: Sequence[int]) -> None:
        """Nothing has been seen on these lanes."""
        for lane in lanes:
            syscall.update(self._visits, lane, bytes(_VISIT.size))

    def seen(self, lanes: Sequence[int]) -> list[tuple[int, int, int]]:
        """(first, last, frames) of each lane, times in nanoseconds of the kernel's monotonic clock."""
        return [_VISIT.unpack(syscall.lookup(self._visits, lane, _VISIT.size)) for lane in lanes]


class Floods:
    """Keeps several guests sending, one frame each in turn, from one thread of this process."""

    def __init__(self, guests: Sequence[tuple[ProcessRecord, str]]) -> None:
        self._end = threading.Event()
        self._wires = []
        for guest, mac in guests:
            wire = open_socket_in(guest.pid, socket.AF_PACKET, socket.SOCK_RAW)
            wire.bind(("eth0", 0))
            head = b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + struct.pack("!H", ETHERTYPE)
            self._wires.append((wire, head.ljust(60, b"\0")))
        self._thread = threading.Thread(target=self._send, name="floods")

    def __enter__(self) -> "Floods":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        for wire, _frame in self._wires:
            wire.close()

    def _send(self) -> None:
        while not self._end.is_set():
            for wire, frame in self._wires:
                wire.send(frame)


@dataclass(frozen=True, slots=True)
class Switched:
    """One switch, in milliseconds: the call; and how long an old path was used after a new one, or after the call."""

    call_ms: float
    effect_ms: float


class Crossing:
    """A server whose wires can take either of two appliances. It has no wires until it grows."""

    def __init__(self, bed: Bed, cache_dir: Path) -> None:
        self._bed = bed
        self._server = bed.server(FIRST_SERVER)
        self._steersman = bed.outpost(self._server, Steersman, FIRST_SERVER, cache_dir, bed.paths.home / FIRST_SERVER)
        self._witnesses = [self._appliance(bed, name, cache_dir) for name in _APPLIANCES]
        self.guests: list[tuple[VnicId, ProcessRecord, str]] = []
        self._vnics: list[VnicId] = []
        self._lanes: list[int] = []
        self._now = 0
        self.rows = 0

    def grow(self, wires: int) -> None:
        """Have ``wires`` wires, no fewer than so far: the first and the last have guests, if there are as many."""
        for identity in (_FIRST_GUEST, _LAST_GUEST)[len(self.guests) : wires]:
            self.guests.append(self._guest(identity))
        named = {
            VnicId(str(uuid.UUID(int=number)), "52:54:00:be:02:00"): _FIRST_NAMED_PORT + number
            for number in range(1, wires - len(self.guests) + 1)
        }
        self._steersman.call("claim", named)
        self._vnics = sorted([*(vnic for vnic, _, _ in self.guests), *named])
        self._lanes = [1 + self._vnics.index(vnic) for vnic, _, _ in self.guests]
        self.rows = self._apply(self._now).rows

    def _appliance(self, bed: Bed, name: str, cache_dir: Path) -> Outpost:
        made: MadeAppliance = self._steersman.call("make_appliance", name, "bridge-null")
        return bed.outpost(ProcessRecord(made.pid, 0), ApplianceWitness, cache_dir)

    def _guest(self, identity: uuid.UUID) -> tuple[VnicId, ProcessRecord, str]:
        number = identity.int & 0xFF
        mac, port = f"52:54:00:be:03:{number:02x}", f"vs{number}"
        guest = self._bed.namespace(port)
        self._bed.plug(self._server, port, guest, f"10.9.2.{number % 254 + 1}", mac)
        vnic = VnicId(str(identity), mac)
        self._steersman.call("arm", vnic, port)
        self._bed.connect(self._server, port)
        return vnic, guest, mac

    def switch(self) -> Switched:
        """Move every wire to the other appliance, while the flooding ones flood. Raises ``SwitchFailed``."""
        old, new = self._witnesses[self._now], self._witnesses[1 - self._now]
        new.call("forget", self._lanes)
        self._wait_seen(old)
        applied = self._apply(1 - self._now)
        self._now = 1 - self._now
        self._wait_seen(new)
        time.sleep(_SETTLE_S)
        former, latter = old.call("seen", self._lanes), new.call("seen", self._lanes)
        first_new = min(first for first, _, _ in latter)
        last_old = max(last for _, last, _ in former)
        effect_ns = max(0, last_old - first_new, last_old - applied.ended_ns)
        return Switched(applied.apply_s * 1e3, effect_ns / 1e6)

    def _wait_seen(self, witness: Outpost) -> None:
        """Return once every flooding wire has been seen there."""
        deadline = time.monotonic() + _SEEN_WITHIN_S
        while not all(frames for _, _, frames in witness.call("seen", self._lanes)):
            if time.monotonic() > deadline:
                raise SwitchFailed("a flooding wire was not seen at the appliance that it was switched to")

    def _apply(self, active: int) -> Applied:
        wires = tuple(_wire(vnic, number, active) for number, vnic in enumerate(self._vnics))
        applied: Applied = self._steersman.call("apply", ServerIntent(FIRST_SERVER, 1, wires))
        return applied


def _wire(vnic: VnicId, number: int, active: int) -> WireIntent:
    """Both paths stay attached, as in a handover; the lanes of all wires differ."""
    paths = tuple(
        WirePath(2 * number + side + 1, (Hop(name, FIRST_SERVER, number + 1),)) for side, name in enumerate(_APPLIANCES)
    )
    return WireIntent(vnic, f"guest{number}", WireState.PATH, paths, paths[active].id)


@dataclass(frozen=True, slots=True)
class Size:
    """How many wires to switch, and how often. ``by_rows``: what is meant is the number of rows they make."""

    wires: int
    times: int
    by_rows: bool = False


def measure_switches(bed: Bed, cache_dir: Path, sizes: Sequence[Size]) -> Iterator[Figure]:
    """The call and the effect of switching each of ``sizes``, growing. Raises ``SwitchFailed``."""
    crossing = Crossing(bed, cache_dir)
    for size in sizes:
        crossing.grow(size.wires)
        with Floods([(guest, mac) for _, guest, mac in crossing.guests]):
            crossing.switch()
            switched = [crossing.switch() for _ in range(size.times)]
        conditions: dict[str, str | int | float] = {"wires": size.wires}
        if size.by_rows:
            conditions["table_rows"] = crossing.rows
        yield Figure.of("switch_call_ms", [one.call_ms for one in switched], **conditions)
        yield Figure.of("switch_effect_ms", [one.effect_ms for one in switched], **conditions)
