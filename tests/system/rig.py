"""A lab with the whole product in it, and what the tests ask of it."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from outrider.cli.demo import RunningClient
from outrider.domain.appliance import ApplianceClass, ApplianceFormat
from outrider.lab.commands import AGENT, CONTROLLER
from outrider.lab.lab import Lab
from outrider.lab.measure.accounting import TO_OUR_ACCOUNT, Journey, LossKind, locate_loss
from outrider.lab.measure.attack import Attempt
from outrider.lab.measure.instruments import Findings, Instruments, Station
from outrider.lab.measure.places import Absence, PlaceKind
from outrider.lab.server import start_agent, start_controller
from outrider.manifests.convert import to_manifest
from outrider.manifests.read import read_paths

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "demo"
CLIENT_ADDRESS = "10.10.0.100"
WEB = {"tier": "web"}
Row = dict[str, Any]


class SystemLab:
    """A lab named ``name``: ``servers`` with agents, a controller, a client; the demo's policy and rules applied."""

    def __init__(self, name: str, servers: int, format: str) -> None:
        self.lab, self.format = Lab(name), format
        self._servers = servers
        self.addresses: dict[str, str] = {}

    def __enter__(self) -> "SystemLab":
        self.lab.down()
        libvirt = self.format == "vm"
        self.lab.up(self._servers, libvirt=libvirt, controller=CONTROLLER, agent=AGENT)
        self.lab.client("client", CLIENT_ADDRESS)
        self.api = RunningClient(f"unix:{self.lab.paths.controller_socket}")
        self.api.__enter__()
        self.apply()
        return self

    def __exit__(self, *exception: object) -> None:
        for log in sorted(self.lab.paths.logs.glob("*.log")):  # shown by pytest when the test fails
            print(f"==> {log.name} <==", *log.read_text().splitlines()[-40:], sep="\n")
        self.api.__exit__()
        self.lab.down()
        assert self.lab.left_behind() == []

    # -- asking for things

    def apply(self, **of_class: object) -> None:
        """The demo's manifests, the appliance class changed by ``of_class``."""
        documents = []
        for document in read_paths([EXAMPLES]):
            value = document.value
            if isinstance(value, ApplianceClass):
                value = replace(value, format=ApplianceFormat(self.format), **of_class)
            documents.append(to_manifest(value))
        self.api.apply(documents)

    def run(self, name: str, server: str, address: str) -> None:
        """A guest that the policy protects."""
        self.addresses[name] = address
        self.lab.run_guest(name, server, self.format, ip=address, labels=WEB)

    def move(self, guest: str, target: str) -> None:
        """Move ``guest``, and return when its packets go through an appliance on ``target``."""
        self.lab.migrate(guest, target)
        self.until_local(guest, target)

    # -- what is so

    def wire(self, guest: str, server: str) -> Row | None:
        return next((w for w in self.api.rows("wires") if (w["guest"], w["server"]) == (guest, server)), None)

    def is_inspected(self, guest: str, server: str, local: bool | None = None) -> bool:
        wire = self.wire(guest, server)
        if wire is None or wire["state"] != "path" or not wire["applied"]:
            return False
        return local is None or local != any(hop["remote"] for hop in wire["path"])

    def until_local(self, guest: str, server: str) -> None:
        until(lambda: self.is_inspected(guest, server, local=True), f"{guest} to be inspected on {server}", self.excuse)

    def excuse(self) -> str:
        return "; ".join(f"{w['guest']} on {w['server']}: {w['state']}, {w['reason']}" for w in self.api.rows("wires"))

    # -- breaking things

    def pid_of(self, *words: str) -> int:
        """The one process of this lab whose command line contains all of ``words``."""
        wanted = [*words, str(self.lab.paths.home)]
        found = [pid for pid, line in _command_lines() if all(word in line for word in wanted)]
        assert len(found) == 1, f"{words}: {found}"
        return found[0]

    def kill_agent(self, server: str) -> None:
        _kill(self.pid_of(f" agent --server {server} "))

    def start_agent(self, server: str) -> None:
        record = self.lab.status().servers[server]
        start_agent(self.lab.paths, record, AGENT).wait()

    def kill_controller(self) -> None:
        _kill(self.pid_of(" controller --state-dir "))

    def start_controller(self) -> None:
        start_controller(self.lab.paths, CONTROLLER).wait()

    def warnings(self) -> list[str]:
        """What daemons of the lab wrote at level warning or worse."""
        lines = [line for log in self.lab.paths.logs.glob("*.log") for line in log.read_text().splitlines()]
        return [line for line in lines if "level=warning" in line or "level=error" in line or "Traceback" in line]

    # -- measuring

    @contextmanager
    def measured(self, rate: float = 200.0) -> Iterator["Measurement"]:
        """Traffic with ids to and from every guest, captures on every server, and attacks, while the block runs."""
        status = self.lab.status()
        holders = {name: server.holder.pid for name, server in status.servers.items()}
        client = Station("client", CLIENT_ADDRESS, self.lab.pid("client"))
        guests = [
            Station(name, address, self.lab.pid(name) if self.format == "container" else None)
            for name, address in self.addresses.items()
        ]
        measurement = Measurement()
        answered: set[str] = set()

        def on_attempt(line: dict[str, Any]) -> None:
            attempt = Attempt(**line["attempt"])
            if attempt.harmless_answered:
                answered.add(attempt.guest)

        instruments = Instruments(holders, client, guests, rate, "/attack", 0.25, on_attempt)
        appliances: dict[str, str] = {}
        with instruments:
            until(lambda: answered >= set(self.addresses), "every guest to answer", self.excuse)
            yield measurement
            time.sleep(0.3)  # so that what was sent last has its time to arrive: not a condition one can ask for
            appliances |= {row["name"]: row["server"] for row in self.api.rows("appliances")}
            measurement.findings = instruments.stop(appliances)
        measurement.absences = absences_of(measurement.findings)


def absences_of(findings: Findings) -> list[Absence]:
    """When each guest was nowhere: between its last frame at a port on one server and its first on the next.

    Frames are seen at the port before any program of ours, so that a wire which holds does not pass for an absence.
    """
    spoken: dict[str, list[tuple[float, str]]] = {}
    sent_on: dict[tuple[str, str], list[float]] = {}
    for journey in findings.journeys:
        for sighting in journey.sightings:
            if sighting.place.kind is PlaceKind.FROM_GUEST:
                spoken.setdefault(journey.guest, []).append((sighting.at, sighting.place.server))
            if sighting.place.kind is PlaceKind.FABRIC_OUT:
                sent_on.setdefault((journey.guest, sighting.place.server), []).append(sighting.at)
    return [
        Absence(
            guest, left, came, begin, end, min((at for at in sent_on.get((guest, came), []) if at >= end), default=end)
        )
        for guest, times in spoken.items()
        for (begin, left), (end, came) in pairwise(sorted(times))
        if left != came
    ]


class Measurement:
    """What was found while something happened."""

    findings: Findings
    absences: Sequence[Absence] = ()

    @property
    def lost(self) -> list[Journey]:
        return [journey for journey in self.findings.journeys if not journey.received_at]

    def losses(self) -> dict[str, int]:
        return dict(Counter(self._kind(journey).value for journey in self.lost))

    def _kind(self, journey: Journey) -> LossKind:
        return locate_loss(journey, self.absences).kind

    def describe(self, journey: Journey) -> str:
        """One lost packet's story, for whoever reads the failure."""
        nearest = min((abs(journey.sent_at - end) for a in self.absences for end in (a.begin, a.end)), default=0.0)
        seen = " > ".join(
            f"{s.place.kind.value}@{s.place.server}+{1000 * (s.at - journey.sent_at):.1f}ms" for s in journey.sightings
        )
        return f"{journey.guest} {journey.packet.direction} {1000 * nearest:.0f} ms from an absence: {seen}"

    def check_safe(self) -> None:
        """I1, by the independent count: nothing uninspected was delivered, no attack arrived, none went unanswered."""
        assert sum(journey.uninspected for journey in self.findings.journeys) == 0
        assert self.findings.attacks_delivered == frozenset()
        assert not [attempt for attempt in self.findings.attempts if attempt.answered]
        assert len(self.findings.attempts) >= 3
        assert self.findings.captured.dropped == 0, "the captures themselves saw everything"

    def check_nothing_lost_to_us(self) -> None:
        """I3: every lost packet is accounted for, none by arming or by a switch; none came twice."""
        kinds = self.losses()
        ours = [self.describe(journey) for journey in self.lost if self._kind(journey) in TO_OUR_ACCOUNT]
        assert ours == [], f"{kinds}: {ours[:20]}"
        assert all(len(journey.received_at) <= 1 for journey in self.findings.journeys)


def until(is_so: Callable[[], bool], what: str, excuse: Callable[[], str] = lambda: "", within_s: float = 60.0) -> None:
    """Wait for a condition; fail with what it was, and why it may not have come."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"waited {within_s} s for {what}: {excuse()}"
        time.sleep(0.05)


def _command_lines() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if "nsenter" not in line.split(" ")[0]:
                yield int(entry.name), line


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not _runs(pid), f"process {pid} to end", within_s=5)


def _runs(pid: int) -> bool:
    """True while any thread of the process is there and no zombie: until then its sockets may still be open."""
    try:
        states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return False
    return any(state != "Z" for state in states)  # field 3 of proc_pid_stat(5)
