"""Guests announced by the start hook before their hypervisor itself speaks of them.

An announcement is believed for a while only: a start may still be refused by someone else's hook, and nothing tells us
then. Once the hypervisor lists the guest, its word counts.
"""

import time
from collections.abc import Collection, Sequence

from outrider.domain.observation import GuestObservation

VALID_S = 30.0


class Announcements:
    """What was announced and is still to be believed, by guest UUID. Safe to use from one thread at a time."""

    def __init__(self, valid_s: float = VALID_S) -> None:
        self._valid_s = valid_s
        self._heard: dict[str, tuple[float, GuestObservation]] = {}

    def add(self, guest: GuestObservation) -> None:
        """Believe ``guest`` for the next ``valid_s`` seconds."""
        self._heard[guest.uuid] = (time.monotonic(), guest)

    def forget(self, uuids: Collection[str]) -> None:
        """The hypervisor speaks of these guests itself."""
        for uuid in uuids:
            self._heard.pop(uuid, None)

    def believed(self) -> Sequence[GuestObservation]:
        """Announced guests that are neither confirmed nor too long ago."""
        oldest = time.monotonic() - self._valid_s
        self._heard = {uuid: entry for uuid, entry in self._heard.items() if entry[0] >= oldest}
        return [guest for _, guest in self._heard.values()]
