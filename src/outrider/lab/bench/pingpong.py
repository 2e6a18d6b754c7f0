"""What a detour adds to a round trip: one packet at a time to and fro, over each line in turn.

One thread plays both ends, with a socket in the guest's namespaces and one in the client's: so no wake-up of another
process is measured, which costs more than the whole way and varies more than what is looked for.
"""

import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from outrider.lab.bench.bed import Bed
from outrider.lab.bench.circuit import CLIENT_ADDRESS, ECHO_PORT, Circuit, Line, Way, udp_in
from outrider.lab.bench.figure import Figure

_LINES = (Way.DIRECT, Way.LOCAL, Way.REMOTE)
_BLOCKS = 10
_LOST_AFTER_S = 2.0


def measure_round_trips(bed: Bed, cache_dir: Path, rounds: int) -> Iterator[Figure]:
    """Microseconds beyond the direct round trip, local and remote, from ``rounds`` round trips over each.

    The lines take turns in blocks; each sample is the difference of the medians of one block. Raises ``LabError`` when
    a line does not pass, ``TimeoutError`` when it loses a packet.
    """
    circuit = Circuit(bed, cache_dir, "bridge-null", _LINES)
    medians: dict[Way, list[float]] = {way: [] for way in _LINES}
    with udp_in(circuit.client) as there:
        there.bind((CLIENT_ADDRESS, ECHO_PORT))
        there.settimeout(_LOST_AFTER_S)
        for block in range(_BLOCKS):
            for way in reversed(_LINES) if block % 2 else _LINES:
                medians[way].append(_median_us(there, circuit.lines[way], rounds // _BLOCKS))
    for way in (Way.LOCAL, Way.REMOTE):
        added = [ours - direct for ours, direct in zip(medians[way], medians[Way.DIRECT], strict=True)]
        yield Figure.of("rtt_added_us", added, path=str(way), appliance="bridge-null", format="container")


def _median_us(there: socket.socket, line: Line, rounds: int) -> float:
    took = []
    with udp_in(line.guest) as here:
        here.connect((CLIENT_ADDRESS, ECHO_PORT))
        here.settimeout(_LOST_AFTER_S)
        for _ in range(rounds):
            began = time.perf_counter_ns()
            here.send(b"ping")
            _, sender = there.recvfrom(64)
            there.sendto(b"pong", sender)
            here.recv(64)
            took.append((time.perf_counter_ns() - began) / 1e3)
    return statistics.median(took)
