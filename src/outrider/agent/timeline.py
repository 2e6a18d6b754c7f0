"""When things were first seen so on this server. Kept in memory: after an agent's restart "first" is its first look."""

from dataclasses import dataclass

from outrider.domain.guest import VnicId


@dataclass(slots=True)
class WireTimes:
    """One wire's times, in seconds since the Unix epoch, with the port they belong to."""

    ifindex: int
    seen_at: float
    armed_at: float | None = None
    running_at: float | None = None
    active: int | None = None
    active_since: float | None = None
    frames_before_arming: int = 0


class Timeline:
    """Times by vnic; a port that comes back as another interface begins anew."""

    def __init__(self) -> None:
        self._wires: dict[VnicId, WireTimes] = {}

    def of(self, vnic: VnicId, ifindex: int, now: float) -> WireTimes:
        """The times of ``vnic`` on this port, begun now when it is new."""
        times = self._wires.get(vnic)
        if times is None or times.ifindex != ifindex:
            times = self._wires[vnic] = WireTimes(ifindex, now)
        return times

    def activated(self, times: WireTimes, active: int | None, now: float) -> None:
        """Note which path is active from now, when that is another than before."""
        if active != times.active or times.active_since is None:
            times.active, times.active_since = active, now

    def forget_all_but(self, present: set[VnicId]) -> None:
        """Drop what belongs to vnics that are gone."""
        for vnic in set(self._wires) - present:
            del self._wires[vnic]
