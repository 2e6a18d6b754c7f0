"""The mark: for which wire, incarnation and direction a packet has been inspected, within the operator's mask.

``skb->mark`` belongs to everyone on the host, so we keep to a contiguous mask of it (by default the upper 24 bits) and
leave the other bits alone. From its high end: one flag bit, one direction bit, the epoch, and 16 bits of wire slot.
Wire slots 0xffff and 0xfffe are no wires: with the flag they mark a frame on its way into an appliance or the tunnel,
and a packet that came by the underlay to the tunnel.
"""

from dataclasses import dataclass

from outrider.domain.wire import Direction
from outrider.steering.layout import ARRIVED_SLOT, ENTERING_SLOT

DEFAULT_MARK_MASK = 0xFFFF_FF00
_WIRE_BITS = 16
_LEAST_BITS = 20


@dataclass(frozen=True, slots=True)
class MarkFields:
    """Where the fields lie. Made by ``of``; shifts and widths in bits."""

    mask: int
    wire_shift: int
    epoch_bits: int

    @classmethod
    def of(cls, mask: int) -> "MarkFields":
        """The fields within ``mask``; raises ``ValueError`` when it is not 20 to 32 bits in a row."""
        shift = (mask & -mask).bit_length() - 1
        bits = mask.bit_length() - shift
        if not 0 < mask <= 0xFFFF_FFFF or mask >> shift != (1 << bits) - 1 or bits < _LEAST_BITS:
            raise ValueError(f"mark mask {mask:#x} must be {_LEAST_BITS} to 32 one-bits in a row")
        return cls(mask, shift, bits - _WIRE_BITS - 2)

    @property
    def epoch_shift(self) -> int:
        """Bits below the epoch."""
        return self.wire_shift + _WIRE_BITS

    @property
    def ingress(self) -> int:
        """The direction bit: set towards the guest."""
        return 1 << (self.epoch_shift + self.epoch_bits)

    @property
    def flag(self) -> int:
        """Set in every mark of ours."""
        return self.ingress << 1

    @property
    def epochs(self) -> int:
        """How many epochs there are; 0 is not used, so that nothing unwritten looks current."""
        return 1 << self.epoch_bits

    @property
    def entering(self) -> int:
        """The mark of a frame on its way into an appliance or the tunnel."""
        return self.flag | ENTERING_SLOT << self.wire_shift

    @property
    def arrived(self) -> int:
        """The mark of what came by the underlay to the tunnel."""
        return self.flag | ARRIVED_SLOT << self.wire_shift

    def of_wire(self, slot: int, epoch: int, direction: Direction) -> int:
        """The mark of a packet inspected for this wire."""
        towards = self.ingress if direction is Direction.INGRESS else 0
        return self.flag | towards | epoch << self.epoch_shift | slot << self.wire_shift

    def next_epoch(self, epoch: int) -> int:
        """The epoch after ``epoch``; 0 is left out."""
        return epoch % (self.epochs - 1) + 1


def entering_mark(mask: int = DEFAULT_MARK_MASK) -> int:
    """What a prover gives its socket as SO_MARK, so that its frames may enter an appliance."""
    return MarkFields.of(mask).entering
