"""Bringing the kernel's tables to a steering table, in the order that loses nothing (RECIPES C, orders of a switch).

0. the return rows of a path that failed are gone before anything else (``pipeline.revoke``);
1. fill slots: records that nothing names yet;
2. return rows: where packets come out of appliances and tunnels, before any packet is sent there;
3. words of the wires: each switch is one store;
4. old return rows are removed. What is in flight on a former path is the intent's business: its rows stay for as long
   as the intent keeps the path among the wire's paths;
5. records that nothing names any more rest (see ``slots``).

Each step compares first and writes only what differs, so the same table again writes nothing.
"""

from collections.abc import Iterable, Mapping

from outrider.domain.wire import Direction
from outrider.pipeline.revoke import Revoked
from outrider.pipeline.table import LaneRow, PathRow, SteeringTable, Step, WireRow
from outrider.steering import layout
from outrider.steering.arrays import MappedWords, fence
from outrider.steering.marks import MarkFields
from outrider.steering.places import AppliancePlaces, WirePlaces
from outrider.steering.records import held_word, is_wire, pack_step, row_word, wire_word
from outrider.steering.slots import RecordSlots
from outrider.steering.tables import Tables


class _Rows:
    """The words of one table of return rows, and which are in use."""

    def __init__(self, words: MappedWords) -> None:
        self._words = words
        self.now = dict(words.used())
        self.written = 0

    def put(self, wanted: Mapping[int, int]) -> None:
        for index, word in wanted.items():
            if self.now.get(index) != word:
                self._words.store(index, word)
                self.now[index] = word
                self.written += 1

    def keep_only(self, wanted: Mapping[int, int]) -> None:
        self.remove(self.now.keys() - wanted.keys())

    def remove(self, indices: Iterable[int]) -> None:
        for index in indices:
            if self.now.pop(index, None) is not None:
                self._words.store(index, 0)
                self.written += 1


class Application:
    """What is in the kernel's tables now, and the way from there to another table."""

    def __init__(self, tables: Tables, marks: MarkFields, wires: WirePlaces, appliances: AppliancePlaces) -> None:
        self._ports, self._marks = tables.ports, marks
        self._wires, self._appliances = wires, appliances
        self._paths = RecordSlots(tables.paths, "path slots")
        self._steps = RecordSlots(tables.steps, "step slots")
        self._lanes, self._keys = _Rows(tables.lanes), _Rows(tables.keys)
        self._switched = 0
        self._paths.adopt(self._paths_in_use())
        self._steps.adopt(self._steps_in_use())

    @property
    def writes(self) -> int:
        """How many records and words have been written so far."""
        return self._paths.filled + self._steps.filled + self._lanes.written + self._keys.written + self._switched

    def revoke(self, rows: Revoked) -> None:
        """Remove ``rows`` now: nothing that comes by them is marked any more, whatever else takes longer."""
        self._lanes.remove([self._lane_index(row) for row in rows.lanes])
        self._keys.remove([row.tunnel_id for row in rows.keys])
        fence()

    def apply(self, table: SteeringTable) -> None:
        """Make the kernel's tables say what ``table`` says. Raises ``TableFull`` before anything is switched."""
        for port in table.appliance_ports:
            self._appliances.place(port.ifindex)
        path_slots = {row.id: self._paths.place(self._path_record(row)) for row in table.paths}
        lanes = {self._lane_index(row): self._row(row.step, row.path) for row in table.lanes}
        keys = {row.tunnel_id: self._row(row.step, row.path, row.sender) for row in table.keys}
        words = {row.ifindex: self._word(row, path_slots) for row in table.wires}
        fence()
        self._lanes.put(lanes)
        self._keys.put(keys)
        fence()
        self._switch(words)
        self._lanes.keep_only(lanes)
        self._keys.keep_only(keys)
        self._paths.keep_only(self._paths_in_use())
        self._steps.keep_only(self._steps_in_use())

    def _switch(self, words: Mapping[int, int]) -> None:
        forgotten = {
            port: held_word(*self._wires.wire_place(port)) for port in self._wires.ports() if port not in words
        }
        changed = {port: word for port, word in {**words, **forgotten}.items() if self._ports.load(port) != word}
        for port, word in changed.items():
            self._ports.store(port, word)
        self._switched += len(changed)

    # -- rows as bits

    def _path_record(self, row: PathRow) -> bytes:
        return b"".join(pack_step(row.first(way), row.id, self._marks, self._wires) for way in Direction)

    def _row(self, step: Step, path: int, sender: str | None = None) -> int:
        return row_word(self._steps.place(pack_step(step, path, self._marks, self._wires, sender)))

    def _lane_index(self, row: LaneRow) -> int:
        return self._appliances.place(row.ifindex) * layout.LANES + row.lane

    def _word(self, row: WireRow, path_slots: Mapping[int, int]) -> int:
        slot, epoch = self._wires.wire_place(row.ifindex)
        return wire_word(row, slot, epoch, path_slots[row.active] if row.active is not None else 0)

    # -- what is named

    def _paths_in_use(self) -> set[int]:
        words = (self._ports.load(ifindex) for ifindex in self._wires.ports())
        return {layout.PORT_PATH.get(word) for word in words if is_wire(word)}

    def _steps_in_use(self) -> set[int]:
        rows = (*self._lanes.now.values(), *self._keys.now.values())
        return {layout.ROW_STEP.get(word) for word in rows}
