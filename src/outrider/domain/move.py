"""Moves: the record kept when a vnic that had a wire on one server gets one on another.

There is no migration code in Outrider (DESIGN 4.4): a move is derived afterwards from what the servers reported.
"""

from dataclasses import dataclass

from outrider.domain.guest import VnicId


@dataclass(frozen=True, slots=True)
class Move:
    """Times in seconds since the Unix epoch; None is "not yet", or "not needed" for the appliance's two."""

    vnic: VnicId
    guest_name: str
    source: str
    target: str
    arrival_seen: float
    armed: float | None = None
    guest_running: float | None = None
    appliance_requested: float | None = None
    appliance_ready: float | None = None
    switched: float | None = None
    interim_appliance: str | None = None
    final_appliance: str | None = None
    cancelled: bool = False

    @property
    def is_over(self) -> bool:
        """True when nothing more will happen in this move."""
        return self.cancelled or (self.switched is not None and self.guest_running is not None)
