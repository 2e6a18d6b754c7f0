"""Wires, hops and paths: the way the packets of one vnic port take.

A **wire** is one vnic port on one server. Its **path** is the ordered list of hops its packets pass; a **hop** is one
appliance, entered on a **lane** (VLAN id). A hop is *remote* when its appliance runs on another server than the wire's.
"""

from dataclasses import dataclass
from enum import StrEnum

from outrider.domain.guest import VnicId

FIRST_LANE = 1
LAST_LANE = 4000  # lanes above are kept for probes; 0 and 4095 are reserved by IEEE 802.1Q
PROBE_LANE = 4094
MAX_HOPS = 4
MAX_TUNNEL_KEY = 32_767  # the tunnel identifier on the air is key * 2 + direction (16 bits of VXLAN's 24-bit VNI)


class Direction(StrEnum):
    """Relative to the guest, everywhere. The kernel's tc hooks on the host-side port have it the other way round."""

    EGRESS = "egress"  # from the guest
    INGRESS = "ingress"  # to the guest


@dataclass(frozen=True, slots=True, order=True)
class WireId:
    """One vnic's port on one server. While a guest moves, its vnic has a wire on each of two servers."""

    server: str
    vnic: VnicId

    def __str__(self) -> str:
        return f"{self.server}/{self.vnic}"


class WireState(StrEnum):
    """What the program on the vnic port does with a packet that has not been inspected."""

    HOLD = "hold"  # drops it
    PATH = "path"  # sends it along the path
    OPEN = "open"  # lets it pass, and counts it under the wire's ``open_reason``


class OpenReason(StrEnum):
    """Why a wire passes packets uninspected; each is counted apart from inspected traffic."""

    NO_POLICY = "no-policy"
    ALLOW = "allow"  # the policy's onMissing: allow
    FAIL_OPEN = "fail-open"
    RELEASED = "released"  # an operator's emergency bypass


@dataclass(frozen=True, slots=True)
class Hop:
    """One appliance on a path. ``key`` is the tunnel key of a remote hop, unique in the cluster; None when local."""

    appliance: str
    server: str
    lane: int
    key: int | None = None

    @property
    def is_remote(self) -> bool:
        """True when the appliance is reached over the tunnel."""
        return self.key is not None


@dataclass(frozen=True, slots=True)
class Path:
    """The hops in egress order (towards the guest they are passed in reverse). ``id`` is never used again."""

    id: int
    hops: tuple[Hop, ...]

    @property
    def is_local(self) -> bool:
        """True when every hop is on the wire's own server."""
        return not any(hop.is_remote for hop in self.hops)
