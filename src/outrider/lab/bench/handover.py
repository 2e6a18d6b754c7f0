"""How long a handover takes: from the moment the local appliance is ready until the wire is on it.

A container guest wanders through a lab, under the real controller and real agents, from server to server; none has an
appliance when it arrives. So each move has an interim path through the appliance that inspected the guest before, and
ends with a handover to a new local one. When it began and when the switch was acknowledged is what the controller
recorded; that the old path is gone is seen in the tables of the guest's own server.
"""

import time
from collections.abc import Callable, Iterator

from outrider.lab.bench.bed import Bed
from outrider.lab.bench.controller import LabController, Row
from outrider.lab.bench.figure import Figure
from outrider.lab.bench.witness import Witness
from outrider.lab.commands import AGENT, CONTROLLER
from outrider.lab.lab import CONTAINER, Lab
from outrider.lab.paths import LabError

_GUEST = "wanderer"
_ADDRESS = "10.9.0.1"
_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.01
_API = "outrider.dev/v1"
_MANIFESTS = (
    {
        "apiVersion": _API,
        "kind": "ApplianceClass",
        "metadata": {"name": "bench-bridge"},
        "spec": {"controls": ["none"], "image": "bridge-null", "format": "container", "readyWithinSeconds": 20},
    },
    {
        "apiVersion": _API,
        "kind": "SecurityPolicy",
        "metadata": {"name": "bench"},
        "spec": {"selector": {"matchLabels": {"bench": "yes"}}, "controls": ["none"], "onMissing": "run-now"},
    },
)


class KeyWatch:
    """Tells when a server's tables know no tunnel identifier any more; lives in an outpost there."""

    def __init__(self) -> None:
        self._witness = Witness()

    def wait_no_keys(self, port: str, within_s: float) -> float:
        """Seconds since the epoch when it was so. Raises ``TimeoutError``."""
        deadline = time.monotonic() + within_s
        while self._witness.keys_in_use(port):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the former path is still in the tables after {within_s:g} s")
            time.sleep(0.002)
        return time.time()


def measure_handovers(bed: Bed, moves: int) -> Iterator[Figure]:
    """Milliseconds from "ready" to the acknowledged switch, and to the old path's removal, for ``moves`` moves."""
    lab = bed.lab()
    servers = [f"s{number}" for number in range(1, moves + 2)]
    lab.up(servers, libvirt=False, controller=CONTROLLER, agent=AGENT)
    controller = LabController(lab.paths.controller_socket)
    controller.apply(_MANIFESTS)
    lab.run_guest(_GUEST, servers[0], CONTAINER, ip=_ADDRESS, labels={"bench": "yes"})
    _wait_inspected(controller, servers[0])
    switched, removed = [], []
    for server in servers[1:]:
        move, gone_at = _move(bed, lab, controller, server)
        switched.append((move["switched"] - move["applianceReady"]) * 1e3)
        removed.append((gone_at - move["applianceReady"]) * 1e3)
    conditions = {"appliance": "bridge-null", "format": "container"}
    yield Figure.of("handover_ms", switched, until="switched", **conditions)
    yield Figure.of("handover_ms", removed, until="old-path-removed", **conditions)


def _move(bed: Bed, lab: Lab, controller: LabController, server: str) -> tuple[Row, float]:
    """Move the guest; return what the controller recorded, and when the interim path was gone."""
    watch = bed.outpost(lab.status().servers[server].holder, KeyWatch)
    lab.migrate(_GUEST, server)
    move = _wait_for(
        f"the handover on {server}",
        lambda: next(
            (row for row in controller.rows("moves") if row["to"] == server and row["switched"] is not None), None
        ),
    )
    port = lab.guest(_GUEST).port
    gone_at: float = watch.call("wait_no_keys", port, _WITHIN_S)
    watch.close()
    if move["applianceReady"] is None:
        raise LabError(f"on {server} there was no appliance to wait for, and so no handover")
    return move, gone_at


def _wait_inspected(controller: LabController, server: str) -> None:
    def is_inspected() -> Row | None:
        rows = controller.rows("wires")
        return next((row for row in rows if row["server"] == server and row["path"] and row["applied"]), None)

    _wait_for(f"an appliance on {server}", is_inspected)


def _wait_for(what: str, look: Callable[[], Row | None]) -> Row:
    deadline = time.monotonic() + _WITHIN_S
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(_LOOK_EVERY_S)
    raise LabError(f"{what} did not come within {_WITHIN_S:g} s")
