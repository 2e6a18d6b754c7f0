"""Where wires and appliance ports live in the tables: their slots, and which incarnation of a port a slot is at.

A port that appears gets a wire slot and the next epoch of that slot, and both go into its word and its marks. So what
was marked for a port that has gone, or for another that had its number, fits nowhere. Slots are given in turn, the one
freed longest ago last to come again. All of it is read back from the tables by the next agent.
"""

from outrider.steering import layout, syscall
from outrider.steering.layout import Map, State
from outrider.steering.marks import MarkFields
from outrider.steering.records import appliance_word, held_word, is_wire
from outrider.steering.slots import TableFull
from outrider.steering.tables import Tables


class WirePlaces:
    """Wire slots by port (ifindex)."""

    def __init__(self, tables: Tables, marks: MarkFields) -> None:
        self._tables, self._marks = tables, marks
        self._places: dict[int, tuple[int, int]] = {}  # by ifindex: (slot, epoch)
        self._next = 0
        self._owners: list[int] = [0] * min(tables.tenancies.entries, layout.ARRIVED_SLOT)
        for slot in range(len(self._owners)):
            self._adopt(slot)

    def _adopt(self, slot: int) -> None:
        ifindex, epoch = self._tenancy(slot)
        if epoch:
            self._next = slot + 1
        if not ifindex:
            return
        word = self._tables.ports.load(ifindex)
        if is_wire(word) and layout.PORT_SLOT.get(word) == slot and layout.PORT_EPOCH.get(word) == epoch:
            self._owners[slot], self._places[ifindex] = ifindex, (slot, epoch)
        else:
            self._write_tenancy(slot, 0, epoch)

    def ports(self) -> list[int]:
        """The ports that have a slot."""
        return list(self._places)

    def has(self, ifindex: int) -> bool:
        """True when the port has a slot."""
        return ifindex in self._places

    def wire_place(self, ifindex: int) -> tuple[int, int]:
        """(wire slot, epoch) of a port, given now if it has none; until its word is written it is held."""
        if ifindex not in self._places:
            self.begin(ifindex)
        return self._places[ifindex]

    def begin(self, ifindex: int) -> None:
        """A new incarnation of the port: new slot, new epoch, counters at zero, held. Raises ``TableFull``."""
        self.end(ifindex)
        slot = self._free_slot()
        epoch = self._marks.next_epoch(self._tenancy(slot)[1])
        clear_counters(self._tables, layout.WIRE_COUNTERS, slot)
        self._owners[slot], self._places[ifindex] = ifindex, (slot, epoch)
        self._write_tenancy(slot, ifindex, epoch)
        self._tables.ports.store(ifindex, held_word(slot, epoch))

    def end(self, ifindex: int) -> None:
        """The port is no wire's any more: its word is zero, which passes nothing."""
        place = self._places.pop(ifindex, None)
        if place is None:
            return
        slot, epoch = place
        self._tables.ports.store(ifindex, 0)
        self._owners[slot] = 0
        self._write_tenancy(slot, 0, epoch)

    def _free_slot(self) -> int:
        for step in range(len(self._owners)):
            slot = (self._next + step) % len(self._owners)
            if not self._owners[slot]:
                self._next = slot + 1
                return slot
        raise TableFull(f"all {len(self._owners)} wire slots of this server are in use")

    def _tenancy(self, slot: int) -> tuple[int, int]:
        ifindex, epoch = layout.TENANCY.packing.unpack(self._tables.tenancies.read(slot))
        return ifindex, epoch

    def _write_tenancy(self, slot: int, ifindex: int, epoch: int) -> None:
        self._tables.tenancies.fill(slot, layout.TENANCY.packing.pack(ifindex, epoch))


class AppliancePlaces:
    """Appliance port slots by port (ifindex)."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._count = tables.lanes.entries // layout.LANES
        self._slots = {
            ifindex: layout.PORT_SLOT.get(word)
            for ifindex, word in tables.ports.used()
            if layout.PORT_STATE.get(word) == State.APPLIANCE
        }

    def ports(self) -> list[int]:
        """The ports that have a slot."""
        return list(self._slots)

    def place(self, ifindex: int) -> int:
        """The slot of the port, given now if it has none. Raises ``TableFull``."""
        slot = self._slots.get(ifindex)
        if slot is None:
            slot = self._slots[ifindex] = self._free_slot()
            clear_counters(self._tables, layout.VSA_COUNTERS, slot)
            self._tables.ports.store(ifindex, appliance_word(slot))
        return slot

    def find(self, ifindex: int) -> int | None:
        """The slot of the port, None when it has none."""
        return self._slots.get(ifindex)

    def end(self, ifindex: int) -> None:
        """The port is no appliance's any more: nothing enters it, nothing that leaves it goes anywhere."""
        if self._slots.pop(ifindex, None) is not None:
            self._tables.ports.store(ifindex, 0)

    def _free_slot(self) -> int:
        taken = set(self._slots.values())
        for slot in range(self._count):
            if slot not in taken:
                return slot
        raise TableFull(f"all {self._count} appliance port slots of this server are in use")


def clear_counters(tables: Tables, table: Map, slot: int) -> None:
    """Set a slot's counters to zero on every CPU."""
    syscall.update(tables.map_fds[table.name], slot, bytes(table.stride * syscall.possible_cpus()))
