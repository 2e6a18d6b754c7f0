"""TCP throughput of a wire beside the plain fabric and beside the static chain: ratios of what was measured in turn.

A shared machine's speed changes from second to second, so every round sends one stream over each line, one after the
other, and only rounds are compared: each sample is a ratio within one round. Odd rounds go through the lines
backwards, so that a machine that slows down does not favour whoever is first. Both ends run ahead of everything else on
the machine (SCHED_FIFO) where that is allowed, each on a core of its own: under load that narrowed the quartiles of one
line from ±20 to ±5 percent. And the sender does not pace itself: with BBR, which some hosts have as their default, a
stream over the direct line ran at half of what the line can do, and all lines looked alike.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from outrider.lab.bench.bed import Bed
from outrider.lab.bench.circuit import CLIENT_ADDRESS, Circuit, Line, Way
from outrider.lab.bench.figure import Figure
from outrider.lab.paths import LabError
from outrider.lab.processes import inside, marked_environment, start_daemon, wait_until

_PORT = 5201
_WARM_UP_BYTES = "20M"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure: rounds, and what one stream sends, as iperf3 says it (``-t SECONDS`` or ``-n BYTES``).

    ``ahead_of_others``: both ends take precedence over everything, which an engine in between could not bear.
    """

    rounds: int
    amount: tuple[str, str]
    ahead_of_others: bool = True

    def command(self, *arguments: str) -> list[str]:
        """iperf3 as this effort runs it."""
        return [*(_ahead_of_others() if self.ahead_of_others else ()), "iperf3", *arguments]


# Many short rounds rather than few long ones: what disturbs a round then disturbs few.
CAREFUL = Effort(31, ("-n", "300M"))
QUICK = Effort(7, ("-n", "300M"))
CAREFUL_ENGINE = Effort(7, ("-n", "200M"), ahead_of_others=False)

_RATIOS = {
    "tcp_local_over_direct": (Way.LOCAL, Way.DIRECT),
    "tcp_remote_over_direct": (Way.REMOTE, Way.DIRECT),
    "tcp_local_over_static": (Way.LOCAL, Way.LOCAL_STATIC),
    "tcp_remote_over_static": (Way.REMOTE, Way.REMOTE_STATIC),
}
NAMES = tuple(_RATIOS)
NAMES_OF_ENGINES = ("tcp_local_over_direct", "tcp_remote_over_direct")  # an engine is slower than any chain


def measure_streams(
    bed: Bed, cache_dir: Path, image: str, effort: Effort, names: Sequence[str] = NAMES
) -> Iterator[Figure]:
    """The ratios ``names``, through container appliances of ``image``. Raises ``LabError``."""
    wanted = {way for name in names for way in _RATIOS[name]}
    circuit = Circuit(bed, cache_dir, image, [way for way in Way if way in wanted])
    rates = measure_rates(bed, circuit, effort)
    appliance = image.partition("-ips")[0]
    for name in names:
        ours, beside = _RATIOS[name]
        ratios = [one / other for one, other in zip(rates[ours], rates[beside], strict=True)]
        yield Figure.of(name, ratios, appliance=appliance, format="container")


def measure_rates(bed: Bed, circuit: Circuit, effort: Effort) -> Mapping[Way, list[float]]:
    """Gbit/s of each line of the circuit in each round."""
    rates: dict[Way, list[float]] = {way: [] for way in circuit.lines}
    with _listening(bed, circuit, effort):
        for line in circuit.lines.values():
            _stream(bed, line, replace(effort, amount=("-n", _WARM_UP_BYTES)))
        for number in range(effort.rounds):
            lines = list(circuit.lines.values())
            for line in reversed(lines) if number % 2 else lines:
                rates[line.way].append(_stream(bed, line, effort))
    return rates


def _stream(bed: Bed, line: Line, effort: Effort) -> float:
    """One stream from the guest to the client; Gbit/s as received."""
    command = effort.command("-c", CLIENT_ADDRESS, "-p", str(_PORT), "-J", *_tcp_options(), *effort.amount)
    done = subprocess.run(
        inside(line.guest, command),
        env=marked_environment(bed.paths.home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
        received: float = answer["end"]["sum_received"]["bits_per_second"]
    except (ValueError, KeyError):
        said = done.stdout + done.stderr
        raise LabError(f"iperf3 over the {line.way} line says: {' '.join(said.split())[-200:]}") from None
    return received / 1e9


@cache
def _tcp_options() -> tuple[str, ...]:
    """For iperf3: a congestion control that takes what the line gives (tcp(7)), and a core for each end."""
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    cores = sorted(os.sched_getaffinity(0))
    pinned = ("-A", f"{cores[0]},{cores[-1]}") if len(cores) > 1 else ()
    return ("-C", "cubic" if "cubic" in available else "reno", *pinned)


@cache
def _ahead_of_others() -> tuple[str, ...]:
    """What to put before a command so that others delay it as little as can be (sched(7), nice(1))."""
    real_time = ("chrt", "--fifo", "1")
    if subprocess.run([*real_time, "true"], capture_output=True, check=False).returncode == 0:
        return real_time
    return ("nice", "-n", "-20")


@contextmanager
def _listening(bed: Bed, circuit: Circuit, effort: Effort) -> Iterator[None]:
    """An iperf3 server at the client."""
    log = bed.paths.log("iperf3")
    command = effort.command("-s", "-B", CLIENT_ADDRESS, "-p", str(_PORT), "--forceflush")
    daemon = start_daemon(command, bed.paths.home, log, circuit.client)
    try:
        wait_until(lambda: "listening" in log.read_text(errors="replace"), 5.0, "iperf3 listening")
        yield
    finally:
        daemon.terminate()
        daemon.wait()
