"""Slots, marks and words: what may be used again and when, and what fits where."""

import itertools
import struct

import pytest

from outrider.domain.wire import Direction
from outrider.steering import slots
from outrider.steering.layout import PORT_SLOT, PORT_WORD, ROW_WORD
from outrider.steering.marks import DEFAULT_MARK_MASK, MarkFields, entering_mark
from outrider.steering.slots import RecordSlots, TableFull


class Memory:
    """An array of 8-byte records in plain memory."""

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self.records = [bytes(8)] * entries

    def read(self, index: int) -> bytes:
        return self.records[index]

    def fill(self, index: int, record: bytes) -> None:
        self.records[index] = record


class Watch:
    """A clock, and how often somebody waited for readers."""

    now, waits = 0.0, 0

    def wait(self) -> None:
        self.waits += 1


def record(number: int) -> bytes:
    return struct.pack("<Q", number)


@pytest.fixture
def watch() -> Watch:
    return Watch()


def made(memory: Memory, watch: Watch) -> RecordSlots:
    return RecordSlots(memory, "slots", lambda: watch.now, watch.wait)


def test_equal_records_share_a_slot_and_zero_is_never_given(watch: Watch):
    memory = Memory(4)
    table = made(memory, watch)
    assert [table.place(record(n)) for n in (7, 8, 7)] == [1, 2, 1]
    assert table.filled == 2


def test_a_slot_is_filled_again_only_after_its_rest_and_after_its_readers_left(watch: Watch):
    table = made(Memory(3), watch)
    table.place(record(1))
    second = table.place(record(2))
    table.keep_only({second})
    with pytest.raises(TableFull, match="all 2 slots are in use or resting"):
        table.place(record(3))
    watch.now += slots.REST_S
    assert table.place(record(3)) == 1
    assert watch.waits == 1


def test_one_wait_serves_all_that_were_resting_before_it(watch: Watch):
    table = made(Memory(4), watch)
    for number in range(1, 4):
        table.place(record(number))
    table.keep_only(set())
    watch.now += slots.REST_S
    assert sorted(table.place(record(number)) for number in range(4, 7)) == [1, 2, 3]
    assert watch.waits == 1


def test_a_resting_record_that_is_wanted_again_is_used_as_it_is(watch: Watch):
    memory = Memory(3)
    table = made(memory, watch)
    slot = table.place(record(1))
    table.place(record(2))
    table.keep_only({2})
    assert table.place(record(1)) == slot
    table.keep_only({1})
    watch.now += slots.REST_S
    assert table.place(record(9)) == 2, "the other one had rested, this one had not"
    assert memory.read(slot) == record(1)


def test_the_next_agent_finds_records_by_content_and_lets_the_rest_rest(watch: Watch):
    memory = Memory(4)
    former = made(memory, watch)
    for number in (1, 2, 3):
        former.place(record(number))
    fresh = made(memory, watch)
    fresh.adopt({2})
    assert fresh.place(record(2)) == 2
    assert fresh.filled == 0
    with pytest.raises(TableFull):
        fresh.place(record(9))
    watch.now += slots.REST_S
    assert fresh.place(record(9)) in (1, 3)


@pytest.mark.parametrize("mask", [DEFAULT_MARK_MASK, 0xFFFF_FFFF, 0x000F_FFFF, 0x00FF_FFF0])
def test_marks_stay_within_their_mask_and_differ_from_each_other(mask: int):
    fields = MarkFields.of(mask)
    marks = {
        fields.of_wire(slot, epoch, way)
        for slot in (0, 1, 0xFFFD)
        for epoch in (1, fields.epochs - 1)
        for way in Direction
    } | {fields.entering, fields.arrived}
    assert len(marks) == 14
    assert all(mark & ~mask == 0 and mark & fields.flag for mark in marks)
    assert entering_mark(mask) == fields.entering


@pytest.mark.parametrize("mask", [0, 0xFF, 0xFF00_FFFF, 0x1_FFFF_FFFF, 0x7_FFFF])
def test_masks_that_do_not_do_are_refused(mask: int):
    with pytest.raises(ValueError, match="must be 20 to 32 one-bits in a row"):
        MarkFields.of(mask)


def test_epochs_go_round_without_zero():
    fields = MarkFields.of(0x000F_FFFF)
    assert [fields.next_epoch(epoch) for epoch in range(4)] == [1, 2, 3, 1]


def test_fields_of_a_word_do_not_overlap():
    for word in (PORT_WORD, ROW_WORD):
        ends = [(field.shift, field.shift + field.bits) for field in word]
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))
    assert PORT_SLOT.get(PORT_SLOT.put(0xFFFF)) == 0xFFFF
    with pytest.raises(ValueError, match="65536 does not fit"):
        PORT_SLOT.put(0x1_0000)
