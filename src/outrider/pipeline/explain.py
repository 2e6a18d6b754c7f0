"""A verdict in words, for ``outrider trace``."""

from outrider.domain.wire import Direction
from outrider.pipeline.model import Reason, Verdict
from outrider.pipeline.table import Deliver, Enter, Step, Tunnel

_WORDS = {
    Reason.MARKED: "passes: inspected, marked for this wire",
    Reason.OPEN: "passes uninspected: the wire is open",
    Reason.ONWARD: "goes on",
    Reason.OURS: "passes: sent by Outrider's own programs",
    Reason.NO_WIRE: "dropped: the port has no wire",
    Reason.HELD: "dropped: the wire is held",
    Reason.AWAITING: "dropped: the guest has not sent its first frame on this server yet",
    Reason.STALE_MARK: "dropped: marked for another wire, incarnation or direction",
    Reason.LOOP: "dropped: came round again on its way into an appliance",
    Reason.NO_STEP: "dropped: its path has no step here",
    Reason.NOT_OURS: "dropped: only Outrider's frames may enter here",
    Reason.UNKNOWN_LANE: "dropped: it came out of the appliance on a lane that is not in use",
    Reason.PROBE: "dropped: a probe that came out (its prover has seen it)",
    Reason.UNKNOWN_KEY: "dropped: tunnel identifier not in use",
    Reason.UNKNOWN_PEER: "dropped: tunnel identifier used by a server it does not belong to",
    Reason.FAILED: "dropped: the kernel could not rewrite it",
    Reason.NOT_UNDERLAY: "dropped: came to the tunnel by another way than the underlay",
}


def explain_step(step: Step) -> str:
    """One step in words."""
    match step:
        case Deliver(vnic, ifindex, direction):
            target = "the fabric" if direction is Direction.EGRESS else "the guest"
            return f"back to the port of {vnic} (interface {ifindex}), marked, on to {target}"
        case Enter(appliance, side, ifindex, lane):
            return f"into {appliance} by its {side} (interface {ifindex}) on lane {lane}"
        case Tunnel(ifindex, peer, tunnel_id):
            return f"to the server at {peer} under tunnel identifier {tunnel_id} (interface {ifindex})"


def explain_reason(reason: Reason) -> str:
    """Why a packet fares as it does."""
    return _WORDS[reason]


def explain_verdict(verdict: Verdict) -> str:
    """What becomes of a packet and why, in one line."""
    if verdict.step is None:
        return explain_reason(verdict.reason)
    return f"path {verdict.path}: {explain_step(verdict.step)}"
