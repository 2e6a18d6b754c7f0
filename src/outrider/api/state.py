"""What the API needs from the controller; the controller satisfies it without knowing of it.

Rows are plain dicts with camelCase keys, since scripts read them (``get … -o json``): keys are added, never renamed.
Times are seconds since the Unix epoch, null is "not yet" or "not known". Keys of each kind, those in parentheses only
in some rows:

========== =============================================================================================
servers    name, connected, tunnelAddress, tunnelMtu, guests, wires, appliances (three counts), applianceSlots,
           intentGeneration, appliedGeneration, conditions [{type, status, reason}], drops {reason: {frames, bytes}}
guests     name, uuid, server, state, labels, policy, vnics [{mac, port, refused}]; one row per server it is on
appliances name, class, server, state, reason, wires (a count), rulesetDigest, requestedAt, readyAt, attempts,
           counters {name: {frames, bytes}}
wires      id, guest, uuid, mac, server, port, state, policy, reason, openReason, path [{appliance, server, lane,
           remote}], applied, released, seenAt, armedAt, runningAt, activeSince, framesBeforeArming,
           counters {name: {frames, bytes}}
moves      guest, vnic, from, to, state (running, done, cancelled), arrivalSeen, armed, guestRunning,
           applianceRequested, applianceReady, switched, interimAppliance, finalAppliance
events     sequence, time, type (Normal, Warning), reason, kind, name, message
========== =============================================================================================
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from outrider.store.declared import DeclaredObjects

Row = Mapping[str, Any]


class ApiState(Protocol):
    """The controller as the API sees it."""

    @property
    def declared(self) -> DeclaredObjects:
        """What users declared; the API reads and changes it, the controller watches it."""
        ...

    async def rows(self, kind: str) -> Sequence[Row]:
        """The rows of ``servers``, ``guests``, ``appliances``, ``wires`` or ``moves``, in a fixed order."""
        ...

    async def explain(self, guest: str) -> Sequence[str]:
        """Why the packets of the guest (name or UUID) go the way they go, line by line; empty when it is not known."""
        ...

    def events(self, follow: bool) -> AsyncIterator[Row]:
        """What is kept, oldest first; with ``follow`` also what comes, until the iterator is closed."""
        ...

    def intent_lines(self, server: str, instance: str) -> AsyncIterator[bytes]:
        """The lines owed to the agent of ``server`` that calls itself ``instance``, as long as it watches."""
        ...

    async def take_report(self, server: str, body: bytes) -> None:
        """Take in an agent's report. Raises ``ValueError`` (one sentence) for one that cannot be used."""
        ...
