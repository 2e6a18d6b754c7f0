"""What the product says of itself, told as a story: the rows of its API, compared with what they were a moment ago.

The watch decides nothing and measures nothing; the times it tells are those the product recorded. Whether they are
true is for the captures to show.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from outrider.lab.demo.narration import Narrator, Tone

Row = Mapping[str, Any]
KINDS = ("appliances", "wires", "moves")
_LOOK_EVERY_S = 0.1


class DemoFailed(Exception):
    """The demo cannot go on; the message says why, in one sentence."""


class Product(Protocol):
    """The product as a user reaches it: its API. Both raise ``DemoFailed`` when it refuses or cannot be reached."""

    def apply(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Apply manifests, all or none."""
        ...

    def rows(self, kind: str) -> Sequence[Row]:
        """The rows that ``outrider get KIND -o json`` shows."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """All rows at one time."""

    appliances: Sequence[Row]
    wires: Sequence[Row]
    moves: Sequence[Row]

    def move_of(self, guest: str, target: str) -> Row | None:
        """The latest move of ``guest`` to ``target``."""
        return next((m for m in reversed(self.moves) if (m["guest"], m["to"]) == (guest, target)), None)

    def wire_of(self, guest: str, server: str) -> Row | None:
        """The wire of ``guest`` on ``server``."""
        return next((w for w in self.wires if (w["guest"], w["server"]) == (guest, server)), None)

    def is_settled(self, guest: str, server: str) -> bool:
        """True when the guest's wire there is inspected on that server itself."""
        wire = self.wire_of(guest, server)
        return self.is_inspected(guest, server) and wire is not None and not any(h["remote"] for h in wire["path"])

    def is_inspected(self, guest: str, server: str) -> bool:
        """True when the guest's wire there has a path, and the path is in force."""
        wire = self.wire_of(guest, server)
        return wire is not None and wire["state"] == "path" and bool(wire["path"]) and bool(wire["applied"])


_APPLIANCE_WORDS: dict[str, tuple[str, Tone]] = {
    "requested": ("appliance {name} is requested on {server}", "fact"),
    "creating": ("appliance {name} is being created on {server}", "fact"),
    "proving": ("appliance {name} is up; it must now stop a canary and pass a harmless probe", "fact"),
    "ready": ("appliance {name} on {server} has proved that it inspects", "good"),
    "failed": ("appliance {name} on {server} failed: {reason}", "bad"),
    "retired": ("appliance {name} on {server} is retired", "fact"),
}

_MOVE_WORDS: dict[str, tuple[str, Tone]] = {
    "arrivalSeen": ("{guest} is coming to {to}: its port is there, it does not run there yet", "step"),
    "armed": ("the port of {guest} on {to} is armed: nothing passes it uninspected", "good"),
    "guestRunning": ("{guest} runs on {to}", "step"),
    "switched": ("{guest}'s packets go through {finalAppliance} from now on", "good"),
}


@dataclass(slots=True)
class Watch:
    """Looks at the product until something is so, telling what changes meanwhile."""

    product: Product
    narrator: Narrator
    _told: set[tuple[str, ...]] = field(default_factory=set)
    appliances: dict[str, str] = field(default_factory=dict)  # every one ever seen: name → server
    wires: dict[str, Row] = field(default_factory=dict)  # every one ever seen, as it was last

    def look(self) -> Look:
        """Ask for all rows, and tell what is new in them."""
        look = Look(*(self.product.rows(kind) for kind in KINDS))
        self.appliances.update({row["name"]: row["server"] for row in look.appliances})
        self.wires.update({row["id"]: row for row in look.wires})
        for at, key, text, tone, guest in sorted(self._news(look), key=lambda news: news[0]):
            self._told.add(key)
            self.narrator.say(text, tone, at=at, guest=guest)
        return look

    def until(self, what: str, is_so: Callable[[Look], bool], within_s: float) -> Look:
        """Look until ``is_so``; raises ``DemoFailed`` naming ``what`` when it takes longer than ``within_s``."""
        deadline = time.monotonic() + within_s
        with self.narrator.under_way(what):
            while True:
                look = self.look()
                if is_so(look):
                    return look
                if time.monotonic() > deadline:
                    raise DemoFailed(f"gave up after {within_s:g} s waiting for {what}{self._excuse(look)}")
                time.sleep(_LOOK_EVERY_S)

    def for_seconds(self, seconds: float, what: str) -> Look:
        """Go on looking for a time."""
        end = time.monotonic() + seconds
        return self.until(what, lambda _: time.monotonic() >= end, seconds + 30)

    def _excuse(self, look: Look) -> str:
        reasons = [f"{row['name']}: {row['reason']}" for row in look.appliances if row["reason"]]
        reasons += [f"{row['guest']} on {row['server']}: {row['reason']}" for row in look.wires if row["reason"]]
        return f" ({'; '.join(reasons)})" if reasons else ""

    def _news(self, look: Look) -> list[tuple[float, tuple[str, ...], str, Tone, str]]:
        now = time.time()
        news: list[tuple[float, tuple[str, ...], str, Tone, str]] = []
        for row in look.moves:
            for step, (words, tone) in _MOVE_WORDS.items():
                if row[step] is not None:
                    key = ("move", row["vnic"], row["to"], step, str(row["arrivalSeen"]))
                    news.append((row[step], key, words.format(**row), tone, row["guest"]))
        for row in look.appliances:
            text, tone = _APPLIANCE_WORDS.get(row["state"], ("appliance {name} is {state}", "fact"))
            at = {"ready": row["readyAt"], "requested": row["requestedAt"]}.get(row["state"]) or now
            news.append((at, ("appliance", row["name"], row["state"]), text.format(**row), tone, ""))
        for row in look.wires:
            if row["state"] == "path" and row["applied"] and row["path"]:
                key = ("path", row["id"], *(hop["appliance"] for hop in row["path"]))
                news.append((row["activeSince"] or now, key, _path_words(row), "fact", row["guest"]))
        return [one for one in news if one[1] not in self._told]


def _path_words(wire: Row) -> str:
    hops = ", then ".join(
        f"{hop['appliance']} on {'the other server ' if hop['remote'] else ''}{hop['server']}" for hop in wire["path"]
    )
    return f"the wire of {wire['guest']} on {wire['server']} goes through {hops}"
