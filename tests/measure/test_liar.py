"""The demo against a product that does nothing and says it does everything: the instruments must find it out."""

import io
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from rich.console import Console

from outrider.lab.demo.demo import FIRST, HOMES, TARGET, Demo, DemoPlan
from outrider.lab.demo.narration import Narrator
from outrider.lab.demo.result import to_json
from outrider.lab.demo.watch import Row
from outrider.lab.lab import CONTAINER, Lab

pytestmark = pytest.mark.system


class Liar:
    """Answers as the API would if every guest were inspected where it is."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._arrived: dict[str, float] = {}

    def apply(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Nothing comes of them."""

    def rows(self, kind: str) -> Sequence[Row]:
        guests = self._lab.status().guests.values()
        for guest in guests:
            if guest.server == TARGET:
                self._arrived.setdefault(guest.name, time.time())
        match kind:
            case "appliances":
                return [appliance(f"ips-{server}-1", server) for server in ("s1", "s2", "s3")]
            case "wires":
                return [wire(guest.name, guest.server) for guest in guests]
            case _:
                return [move(name, at) for name, at in self._arrived.items()]


def appliance(name: str, server: str) -> Row:
    return {"name": name, "server": server, "state": "ready", "readyAt": 1.0, "requestedAt": 1.0, "reason": ""}


def wire(guest: str, server: str) -> Row:
    path = [{"appliance": f"ips-{server}-1", "server": server, "lane": 1, "remote": False}]
    told = {"state": "path", "applied": True, "activeSince": None, "reason": "", "framesBeforeArming": 0}
    return {"id": f"{server}/{guest}", "guest": guest, "server": server, "path": path, "counters": {}, **told}


def move(guest: str, at: float) -> Row:
    steps = {"arrivalSeen": at, "armed": at, "guestRunning": at, "switched": at + 0.5}
    none = {"applianceRequested": None, "applianceReady": None, "interimAppliance": None}
    return {
        "guest": guest, "vnic": guest, "from": HOMES[guest], "to": TARGET, **steps, **none,
        "finalAppliance": f"ips-{TARGET}-1",
    }  # fmt: skip


def test_a_product_that_only_says_it_inspects_is_found_out() -> None:
    lab = Lab("ord-liar")
    plan = DemoPlan(
        CONTAINER, [], "/attack", controller=(), agent=(), look_s=1.0, attack_every_s=0.2, appliance_within_s=10
    )
    said = io.StringIO()
    try:
        result = Demo(plan, lab, Liar(lab), Narrator(Console(file=said, width=200))).run()
    finally:
        lab.down()
    assert [phase.account.name for phase in result.phases] == ["before", "interim", "after"], said.getvalue()
    for phase in result.phases:
        assert phase.account.received > 0
        assert phase.account.uninspected >= phase.account.received
        assert phase.account.inspected_by == {}
        assert phase.attacks.attempts == 0 or not phase.attacks.blocked
    assert not to_json(result)["ok"]
    assert "delivered without inspection" in " ".join(result.failures)
    assert result.left_behind == ()
    assert result.moves[0].guest == FIRST
    assert result.moves[0].away_s is not None
