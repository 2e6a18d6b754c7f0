"""The main job, shown: a guest moves, and its inspection moves with it; measured packet by packet meanwhile.

The demo does what a user would do, by the same ways: it brings up a lab, applies manifests, starts guests and
migrates them, and reads what the product says of itself from its API. What it *proves* comes from instruments that
know nothing of the product (``lab.measure``). It ends by taking everything down and looking for what is left.
"""

import os
import platform
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from outrider.lab.demo.conclude import Story, conclude
from outrider.lab.demo.narration import Narrator
from outrider.lab.demo.result import DemoResult, Spot, Stage
from outrider.lab.demo.watch import DemoFailed, Look, Product, Row, Watch
from outrider.lab.lab import CONTAINER, Lab
from outrider.lab.measure.attack import Attempt
from outrider.lab.measure.instruments import Instruments, Station
from outrider.lab.measure.sideprocess import MeasuringFailed
from outrider.lab.paths import LabError

SERVERS = ("s1", "s2", "s3")
FIRST, SECOND, CLIENT = "web-1", "web-2", "client"
ADDRESSES = {FIRST: "10.10.0.11", SECOND: "10.10.0.12", CLIENT: "10.10.0.100"}
HOMES = {FIRST: "s1", SECOND: "s3"}
TARGET = "s2"
LABELS = {"tier": "web"}


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What to show and how long to look at each phase. ``rate`` is packets per second to and from each guest."""

    format: str
    documents: Sequence[Mapping[str, Any]]
    attack_path: str
    controller: Sequence[str]
    agent: Sequence[str]
    look_s: float = 5.0
    rate: float = 200.0
    attack_every_s: float = 0.5
    appliance_within_s: float = 60.0


class Demo:
    """One demo. ``run`` may be called once."""

    def __init__(self, plan: DemoPlan, lab: Lab, product: Product, narrator: Narrator) -> None:
        self._plan = plan
        self._lab = lab
        self._narrator = narrator
        self._watch = Watch(product, narrator)
        self._story = Story(plan.format, SERVERS, FIRST, SECOND, TARGET)
        self._attack_news_since = 0.0  # the next stopped attack made after this is told

    def run(self) -> DemoResult:
        """Show everything; the lab is gone afterwards, however it ends."""
        problems: list[str] = []
        try:
            self._prepare()
            self._measure()
        except (DemoFailed, LabError, MeasuringFailed) as error:
            problems.append(str(error))
            self._narrator.say(str(error), "bad")
        finally:
            left = self._take_down()
        result = conclude(self._story, self._narrator)
        return replace(
            result,
            seconds=time.time() - self._narrator.began,
            moments=self._narrator.moments(),
            machine=describe_machine(),
            left_behind=tuple(left),
            problems=(*result.problems, *problems),
        )

    # ---- the lab ----

    def _prepare(self) -> None:
        say, plan = self._narrator.say, self._plan
        kind = "containers" if plan.format == CONTAINER else "virtual machines under libvirt"
        say(f"a lab of {len(SERVERS)} virtual servers comes up; guests and appliances will be {kind}", "step")
        with self._narrator.under_way("the lab to come up"):
            libvirt = plan.format != CONTAINER
            self._lab.up(SERVERS, libvirt=libvirt, controller=plan.controller, agent=plan.agent)
            self._lab.client(CLIENT, ADDRESSES[CLIENT])
        say(f"{len(SERVERS)} servers, their agents and the controller run; a client is on the network")
        self._watch.product.apply(plan.documents)
        say(f"policy applied: every guest labelled {_label_words()} must be inspected by an IPS", "step")
        for guest in (FIRST, SECOND):
            with self._narrator.under_way(f"{guest} to start"):
                self._lab.run_guest(guest, HOMES[guest], plan.format, ip=ADDRESSES[guest], labels=LABELS)
            say(f"{guest} is started on {HOMES[guest]}; it is held until an appliance inspects it", guest=guest)
        self._watch.until(
            "an appliance beside each guest",
            lambda look: all(look.is_settled(guest, home) for guest, home in HOMES.items()),
            plan.appliance_within_s,
        )

    def _take_down(self) -> list[str]:
        with self._narrator.under_way("the lab to be taken down"):
            self._lab.down()
            left = self._lab.left_behind()
        for line in left:
            self._narrator.say(f"left behind: {line}", "bad")
        if not left:
            self._narrator.say("the lab is taken down; nothing is left on this machine", "good")
        return left

    # ---- the story ----

    def _measure(self) -> None:
        status = self._lab.status()
        servers = {name: server.holder.pid for name, server in status.servers.items()}
        client = Station(CLIENT, ADDRESSES[CLIENT], self._lab.pid(CLIENT))
        guests = [
            Station(name, ADDRESSES[name], self._lab.pid(name) if self._plan.format == CONTAINER else None)
            for name in (FIRST, SECOND)
        ]
        self._story.macs = {name: status.guests[name].mac for name in (FIRST, SECOND)}
        plan = self._plan
        instruments = Instruments(
            servers, client, guests, plan.rate, plan.attack_path, plan.attack_every_s, self._on_attempt
        )
        with instruments:
            try:
                self._before()
                self._first_move()
                self._second_move()
            finally:
                with self._narrator.under_way("the packets to be counted"):
                    self._story.findings = instruments.stop(self._watch.appliances)
                    self._story.wires = dict(self._watch.wires)

    def _before(self) -> None:
        self._narrator.say(
            f"the client talks to both guests ({self._plan.rate:g} packets/s each) and attacks them over HTTP", "step"
        )
        self._watch.until("both guests to answer", lambda _: self._answered() >= {FIRST, SECOND}, 30)
        look = self._watch.for_seconds(self._plan.look_s, "traffic before the move")
        self._story.stages.append(stage_of("before", look))

    def _first_move(self) -> None:
        moved = "moved" if self._plan.format == CONTAINER else "live-migrated"
        self._narrator.say(f"{FIRST} is {moved} to {TARGET}, which has no appliance", "step", guest=FIRST)
        with self._migrating(FIRST):
            look = self._watch.until(f"{FIRST} to run on {TARGET}", lambda look: _runs(look, FIRST), 60)
        self._tell_next_attack()
        self._story.stages.append(stage_of("interim", look))
        self._watch.until(
            f"{FIRST}'s packets to be switched to an appliance on {TARGET}",
            lambda look: _is_switched(look, FIRST),
            self._plan.appliance_within_s,
        )
        self._tell_next_attack()
        look = self._watch.for_seconds(self._plan.look_s, "traffic after the switch")
        self._story.stages.append(stage_of("after", look))
        self._story.keep_moves(look.moves)

    def _second_move(self) -> None:
        known = set(self._watch.appliances)
        self._narrator.say(f"{SECOND} follows to {TARGET}, which has an appliance now", "step", guest=SECOND)
        with self._migrating(SECOND):
            self._watch.until(f"{SECOND} to be inspected on {TARGET}", lambda look: _is_switched(look, SECOND), 60)
        look = self._watch.for_seconds(self._plan.look_s * 0.6, "traffic after the second move")
        created = set(self._watch.appliances) - known
        self._story.appliances_created = len(created)
        if not created:
            self._narrator.say(f"no appliance was created for {SECOND}: the one on {TARGET} was used at once", "good")
        self._story.stages.append(stage_of("second guest", look))
        self._story.keep_moves(look.moves)

    @contextmanager
    def _migrating(self, guest: str) -> Iterator[None]:
        """Migrate in the background while the caller looks on; its failure is raised at the end of the block."""
        failed: list[LabError] = []

        def migrate() -> None:
            try:
                self._lab.migrate(guest, TARGET)
            except LabError as error:
                failed.append(error)

        thread = threading.Thread(target=migrate, name=f"migrate-{guest}", daemon=True)
        thread.start()
        try:
            yield
        except DemoFailed:
            if failed:
                raise failed[0] from None
            raise
        thread.join()
        if failed:
            raise failed[0]

    # ---- attacks as they happen ----

    def _answered(self) -> set[str]:
        return set(self._story.answered)

    def _on_attempt(self, line: dict[str, Any]) -> None:
        attempt = Attempt(**line["attempt"])
        if attempt.harmless_answered:
            self._story.answered.add(attempt.guest)
        if attempt.answered:
            self._narrator.say(f"an attack on {attempt.guest} was ANSWERED", "bad", guest=attempt.guest)
        elif attempt.counts and attempt.guest == FIRST and attempt.at > self._attack_news_since:
            self._attack_news_since = float("inf")
            text = f"attack on {FIRST} stopped; a harmless request of the same moment was answered"
            self._narrator.say(text, "good", guest=FIRST)

    def _tell_next_attack(self) -> None:
        self._attack_news_since = time.time()


def _label_words() -> str:
    return ", ".join(f"{key}={value}" for key, value in LABELS.items())


def _runs(look: Look, guest: str) -> bool:
    move = look.move_of(guest, TARGET)
    return move is not None and move["guestRunning"] is not None and look.is_inspected(guest, TARGET)


def _is_switched(look: Look, guest: str) -> bool:
    move = look.move_of(guest, TARGET)
    return move is not None and None not in (move["switched"], move["guestRunning"])


def stage_of(title: str, look: Look) -> Stage:
    """The lab as ``look`` shows it; of two wires of one guest the one on the target tells where it is."""
    spots: dict[str, Spot] = {}
    for wire in sorted(look.wires, key=lambda row: row["server"] == TARGET):
        hop: Row | None = wire["path"][-1] if wire["path"] else None
        spots[wire["guest"]] = Spot(
            wire["guest"], wire["server"], hop["appliance"] if hop else None, hop["server"] if hop else None
        )
    there = [row for row in look.appliances if row["state"] not in ("failed", "retired")]
    return Stage(
        title,
        tuple(spots[name] for name in sorted(spots)),
        {row["name"]: row["server"] for row in there},
        frozenset(row["name"] for row in there if row["state"] != "ready"),
    )


def describe_machine() -> dict[str, str]:
    """What the figures were measured on."""
    uname = platform.uname()
    return {"kernel": uname.release, "architecture": uname.machine, "cores": str(len(os.sched_getaffinity(0)))}
