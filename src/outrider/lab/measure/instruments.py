"""One run's instruments together: captures in every server, traffic to the guests, attacks; and what they found.

Started in the order that misses nothing (the captures first, the senders last) and ended in the other.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from outrider.appliances.ports import AppliancePorts
from outrider.lab.measure.accounting import Journey, assemble_journeys
from outrider.lab.measure.attack import Attacker, Attempt
from outrider.lab.measure.capture import Capture, Captured
from outrider.lab.measure.packetid import Run
from outrider.lab.measure.places import PortMap, Side
from outrider.lab.measure.sideprocess import Heard
from outrider.lab.measure.traffic import Flow, FlowKind, Traffic, TrafficLog

UPLINK = "fab0"  # a server's cable to the fabric
# Said of by their names: what passes them also passes a port that counts, and a migration floods some of them.
_SILENT = frozenset({"lo", "und0", "br0"})


@dataclass(frozen=True, slots=True)
class Station:
    """A machine of the lab to measure from or to. ``pid`` is a process in its network namespace, None in a VM."""

    name: str
    address: str
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything the instruments found."""

    journeys: tuple[Journey, ...]
    attempts: tuple[Attempt, ...]
    captured: Captured
    ports: PortMap
    refused_sends: int = 0

    def journeys_of(self, guest: str) -> list[Journey]:
        """The packets to and from one guest."""
        return [journey for journey in self.journeys if journey.guest == guest]

    def flows_of(self, guest: str) -> frozenset[int]:
        """The numbers of the flows to and from one guest."""
        return frozenset(journey.packet.flow for journey in self.journeys_of(guest))

    def attempts_on(self, guest: str) -> list[Attempt]:
        """The attacks on one guest."""
        return [attempt for attempt in self.attempts if attempt.guest == guest]

    @property
    def attacks_delivered(self) -> frozenset[int]:
        """The attempts whose bytes were seen going to a guest's port."""
        return self.ports.attacks_delivered(self.captured)


class Instruments:
    """The instruments while they run. Use in a ``with`` block: what is still running at its end is ended at once."""

    def __init__(
        self,
        servers: Mapping[str, int],
        client: Station,
        guests: Sequence[Station],
        rate: float,
        attack_path: str,
        attack_every_s: float,
        on_attempt: Heard,
    ) -> None:
        assert client.pid is not None
        run = Run(os.urandom(8))
        self._flows = _flows(client, guests, rate)
        self._cleanup = ExitStack()
        with self._cleanup:
            self._capture = Capture(run, servers, _SILENT)
            self._cleanup.callback(self._capture.kill)
            to_guests = [flow for flow in self._flows if flow.kind is not FlowKind.PEER]
            self._client = Traffic(run, client.pid, to_guests)
            self._cleanup.callback(self._client.kill)
            self._peers = [self._peer(run, guest) for guest in guests if guest.pid is not None]
            addresses = {guest.name: guest.address for guest in guests}
            self._attacker = Attacker(run, client.pid, addresses, attack_path, attack_every_s, on_attempt)
            self._cleanup.callback(self._attacker.kill)
            for traffic in (self._client, *self._peers):
                traffic.begin()
            self._cleanup = self._cleanup.pop_all()

    def __enter__(self) -> "Instruments":
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def stop(self, appliances: Mapping[str, str]) -> Findings:
        """End them in order; ``appliances`` are all there were, name → server. Raises ``MeasuringFailed``."""
        attempts = self._attacker.stop()
        for traffic in (self._client, *self._peers):
            traffic.hush()
        client = self._client.stop()
        peers = sum((peer.stop() for peer in self._peers), TrafficLog())
        captured = self._capture.stop()
        ports = port_map(appliances)
        journeys = assemble_journeys(self._flows, client, peers, ports.sightings(captured.seen))
        refused = client.refused + peers.refused
        return Findings(tuple(journeys), tuple(attempts), captured, ports, refused)

    def _peer(self, run: Run, guest: Station) -> Traffic:
        assert guest.pid is not None
        own = [flow for flow in self._flows if flow.kind is FlowKind.PEER and flow.guest == guest.name]
        peer = Traffic(run, guest.pid, own)
        self._cleanup.callback(peer.kill)
        return peer


def port_map(appliances: Mapping[str, str]) -> PortMap:
    """What the ports of the lab's servers mean, given every appliance there was (name → server)."""
    sides: dict[tuple[str, str], tuple[str, Side]] = {}
    for name, server in appliances.items():
        ports = AppliancePorts.of(name)
        sides[server, ports.inport] = (name, Side.IN)
        sides[server, ports.outport] = (name, Side.OUT)
    return PortMap(appliances=sides, uplinks=frozenset({UPLINK}))


def _flows(client: Station, guests: Sequence[Station], rate: float) -> list[Flow]:
    """An echo flow to every guest; for those with a network namespace of their own a datagram stream each way too."""
    flows: list[Flow] = []
    for guest in guests:
        kinds = [(FlowKind.ECHO, guest.address)]
        if guest.pid is not None:
            kinds += [(FlowKind.UDP, guest.address), (FlowKind.PEER, client.address)]
        for kind, address in kinds:
            flows.append(Flow(len(flows) + 1, kind, guest.name, address, rate / len(kinds)))
    return flows
