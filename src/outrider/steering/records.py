"""A steering table's rows as words and records: what ``layout`` means, put into bits.

Pure. What a row needs to know of this agent (wire slots and their epochs, appliance port slots, record slots) is asked
of ``Places``, so the same row gives the same bits again as long as its places stay the same.
"""

import ipaddress
from typing import Protocol

from outrider.domain.wire import Direction, OpenReason, WireState
from outrider.pipeline.table import Deliver, Enter, Step, WireRow
from outrider.steering import layout
from outrider.steering.layout import Action, State
from outrider.steering.marks import MarkFields

OPENED_BY = tuple(OpenReason)
_STATES = {WireState.HOLD: State.HOLD, WireState.PATH: State.PATH, WireState.OPEN: State.OPEN}


class Places(Protocol):
    """Where wires live in the tables."""

    def wire_place(self, ifindex: int) -> tuple[int, int]:
        """(wire slot, epoch) of the vnic port."""
        ...


def pack_step(step: Step, path: int, marks: MarkFields, places: Places, sender: str | None = None) -> bytes:
    """``step`` of path ``path`` as a record; ``sender`` is the peer that may use a tunnel key."""
    mark = tunnel_id = peer = lane = 0
    match step:
        case Deliver(_, ifindex, direction):
            action, mark = Action.DELIVER, marks.of_wire(*places.wire_place(ifindex), direction)
        case Enter():
            action, ifindex, direction, lane = Action.ENTER, step.ifindex, step.direction, step.lane
        case _:
            action, ifindex, direction = Action.TUNNEL, step.ifindex, step.direction
            tunnel_id, peer = step.tunnel_id, address_number(step.peer)
    allowed = address_number(sender) if sender else 0
    way = int(direction is Direction.INGRESS)
    return layout.STEP.packing.pack(ifindex, mark, tunnel_id, peer, allowed, path & 0xFFFF_FFFF, lane, action, way, 0)


def address_number(address: str) -> int:
    """An IPv4 address as the programs hold it; raises ``ValueError`` for anything else."""
    return int(ipaddress.IPv4Address(address))


def row_word(step_slot: int) -> int:
    """The word of a lane or key row in use."""
    return layout.ROW_USED.put(1) | layout.ROW_STEP.put(step_slot)


def wire_word(row: WireRow, slot: int, epoch: int, path_slot: int) -> int:
    """The word of a vnic port; ``path_slot`` 0 when it has no path."""
    opened_by = OPENED_BY.index(row.open_reason) + 1 if row.open_reason else 0
    return (
        layout.PORT_STATE.put(_STATES[row.state])
        | layout.PORT_AWAIT.put(row.await_announcement)
        | layout.PORT_OPENED_BY.put(opened_by)
        | layout.PORT_SLOT.put(slot)
        | layout.PORT_PATH.put(path_slot)
        | layout.PORT_EPOCH.put(epoch)
    )


def held_word(slot: int, epoch: int) -> int:
    """The word of a vnic port that is armed and has no wire yet."""
    return layout.PORT_STATE.put(State.HOLD) | layout.PORT_SLOT.put(slot) | layout.PORT_EPOCH.put(epoch)


def appliance_word(slot: int) -> int:
    """The word of an appliance port."""
    return layout.PORT_STATE.put(State.APPLIANCE) | layout.PORT_SLOT.put(slot)


def tunnel_word() -> int:
    """The word of a tunnel device whose underlay is guarded."""
    return layout.PORT_STATE.put(State.TUNNEL)


def is_wire(word: int) -> bool:
    """True for the word of a vnic port."""
    return layout.PORT_STATE.get(word) in (State.HOLD, State.PATH, State.OPEN)
