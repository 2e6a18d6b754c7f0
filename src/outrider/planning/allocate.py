"""Lanes, tunnel keys, path ids and appliance names: each given to one user at a time.

A freed lane rests before it is given again, since an engine tracks flows by VLAN id and would take a new guest's
packets for the old guest's connections (DESIGN 4.3). Path ids and serials only grow.
"""

from collections.abc import Iterable
from dataclasses import replace

from outrider.domain.appliance import ApplianceClass, ApplianceName
from outrider.domain.wire import FIRST_LANE, LAST_LANE, MAX_TUNNEL_KEY, Hop, Path
from outrider.planning.ledger import ApplianceEntry, Ledger, RestingLane

LANE_REST_S = 3600.0  # longer than any flow time-out in Suricata's shipped configuration


class NoneLeft(Exception):
    """Nothing of a bounded kind is left; the message is the reason shown to users."""


class Allocator:
    """The mutable part of making one plan; begins from a ledger and ends as the next one's fields."""

    def __init__(self, ledger: Ledger, now: float) -> None:
        self._now = now
        self.appliances: dict[str, ApplianceEntry] = dict(ledger.appliances)
        self._next_path, self._next_key, self._next_serial = ledger.next_path, ledger.next_key, ledger.next_serial
        held = [path for entry in ledger.wires.values() for path in entry.paths]
        self._lanes = {(hop.appliance, hop.lane) for path in held for hop in path.hops}
        self._keys = {hop.key for path in held for hop in path.hops if hop.key is not None}
        self._resting = [rest for rest in ledger.resting if rest.since + LANE_REST_S > now]
        self._resting_lanes = {(rest.appliance, rest.lane) for rest in self._resting}
        self._lane_hint: dict[str, int] = {}

    def path(self, server: str, appliances: Iterable[tuple[str, str]]) -> Path:
        """A new path for a wire on ``server`` through (appliance, its server) pairs. Raises ``NoneLeft``."""
        hops = tuple(
            Hop(appliance, at, self._lane(appliance), self._key() if at != server else None)
            for appliance, at in appliances
        )
        self._next_path += 1
        return Path(self._next_path - 1, hops)

    def free(self, path: Path) -> None:
        """Let the lanes of ``path`` rest, unless its appliance is gone with them."""
        for hop in path.hops:
            self._lanes.discard((hop.appliance, hop.lane))
            self._keys.discard(hop.key)
            self._resting.append(RestingLane(hop.appliance, hop.lane, self._now))
            self._resting_lanes.add((hop.appliance, hop.lane))

    def request(self, server: str, appliance_class: ApplianceClass) -> ApplianceEntry:
        """A new appliance of ``appliance_class`` for ``server``."""
        name = str(ApplianceName(server, appliance_class.name, self._next_serial))
        self._next_serial += 1
        self.appliances[name] = ApplianceEntry(name, server, appliance_class, self._now)
        return self.appliances[name]

    def into(self, ledger: Ledger) -> Ledger:
        """``ledger`` with what was given out since."""
        return replace(
            ledger,
            appliances=self.appliances,
            resting=tuple(rest for rest in self._resting if rest.appliance in self.appliances),
            next_path=self._next_path,
            next_key=self._next_key,
            next_serial=self._next_serial,
        )

    def _lane(self, appliance: str) -> int:
        for lane in range(self._lane_hint.get(appliance, FIRST_LANE), LAST_LANE + 1):
            key = (appliance, lane)
            if key not in self._lanes and key not in self._resting_lanes:
                self._lanes.add(key)
                self._lane_hint[appliance] = lane + 1
                return lane
        raise NoneLeft(f"no lane free on {appliance}: {LAST_LANE} are in use or resting")

    def _key(self) -> int:
        """The next key after the one given last, so that a freed key is the last to be given again."""
        for step in range(MAX_TUNNEL_KEY):
            key = (self._next_key - 1 + step) % MAX_TUNNEL_KEY + 1
            if key not in self._keys:
                self._keys.add(key)
                self._next_key = key % MAX_TUNNEL_KEY + 1
                return key
        raise NoneLeft(f"no tunnel key free: {MAX_TUNNEL_KEY} remote hops are in use")
