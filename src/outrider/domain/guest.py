"""Guests and their vnics. A guest's identity is its UUID; a vnic's is the guest's UUID and its MAC address."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, order=True)
class VnicId:
    """One network card of one guest: ``guest`` is the UUID, ``mac`` the address in lower case."""

    guest: str
    mac: str

    def __str__(self) -> str:
        return f"{self.guest}/{self.mac}"

    @classmethod
    def parse(cls, text: str) -> "VnicId":
        """The inverse of ``str``; raises ``ValueError`` when there is no '/'."""
        guest, slash, mac = text.partition("/")
        if not slash:
            raise ValueError(f"{text!r} is not a vnic id: GUEST-UUID/MAC")
        return cls(guest, mac)


class GuestState(StrEnum):
    """What the hypervisor of one server says of a guest there."""

    DEFINED = "defined"  # known, not running, no ports
    ARRIVING = "arriving"  # ports exist, not running here yet (start begun, or memory still being copied)
    RUNNING = "running"
    PAUSED = "paused"  # includes a migration's source after the stop
    STOPPED = "stopped"
