"""Which ports are armed, which were refused and why, and what a port had received before anyone here looked."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch

import structlog

from outrider.agent.ports import Steering
from outrider.domain.observation import PortObservation

log = structlog.get_logger("agent")


class PortArming:
    """Arms ports of one server, each once. ``patterns`` name those that are guests', whoever they turn out to be."""

    def __init__(self, steering: Steering, port_refused: type[Exception], patterns: Iterable[str]) -> None:
        self._steering, self._port_refused, self._patterns = steering, port_refused, tuple(patterns)
        self._armed: set[int] = set()
        self._received_before: dict[int, int] = {}
        self.refusals: dict[str, str] = {}  # by interface name

    def appeared(self, port: PortObservation) -> bool:
        """A port has come; arm it if its name says that it is a guest's. True when it is."""
        # One that left and came back before the next look has its old number and none of our programs.
        self._armed.discard(port.ifindex)
        self._received_before.pop(port.ifindex, None)
        self._note_former_life(port)
        is_guests = any(fnmatch(port.name, pattern) for pattern in self._patterns)
        if is_guests:
            self.arm(port)
        return is_guests

    def arm(self, port: PortObservation) -> None:
        """Arm ``port`` unless that was done; when it cannot be, ``refusals`` says why."""
        self._note_former_life(port)
        if port.ifindex in self._armed:
            return
        try:
            self._steering.arm(port.ifindex)
        except self._port_refused as refusal:
            if self.refusals.get(port.name) != str(refusal):
                log.warning("port refused", port=port.name, reason=str(refusal))
            self.refusals[port.name] = str(refusal)
            return
        self.refusals.pop(port.name, None)
        self._armed.add(port.ifindex)

    def received_here(self, port: PortObservation) -> int:
        """Frames that ``port`` has received since it is on this server."""
        return port.rx_packets - self._received_before.get(port.ifindex, 0)

    def forget_all_but(self, ports: Mapping[str, PortObservation]) -> None:
        """Drop what belongs to ports that are gone."""
        existing = {port.ifindex for port in ports.values()}
        self._armed &= existing
        self._received_before = {i: count for i, count in self._received_before.items() if i in existing}
        self.refusals = {name: reason for name, reason in self.refusals.items() if name in ports}

    def _note_former_life(self, port: PortObservation) -> None:
        """A port that was moved here brings its counters along, and comes down: nothing was received here yet.

        One that is up when first seen may have received all it counts before anyone looked.
        """
        self._received_before.setdefault(port.ifindex, 0 if port.up else port.rx_packets)
