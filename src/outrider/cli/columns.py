"""The columns of each kind's table: a title, and how a row becomes text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from outrider.manifests.kinds import (
    APPLIANCE,
    APPLIANCE_CLASS,
    GUEST,
    MOVE,
    RULE_SET,
    SECURITY_POLICY,
    SERVER,
    WIRE,
    Kind,
)

Row = Mapping[str, Any]

NOTHING = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """``text`` takes a row and the time now (seconds since the Unix epoch)."""

    title: str
    text: Callable[[Row, float], str]
    only_wide: bool = False
    wraps: bool = False


def age_text(seconds: float) -> str:
    """A duration as people say it: ``350ms``, ``12s``, ``4m``, ``3h``, ``9d``."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds / length)}{unit}"
    return f"{int(seconds)}s"


def count_text(count: int) -> str:
    """A count in as many digits as are read at a glance: ``999``, ``12.3k``, ``4.1M``."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def _field(title: str, *path: str, only_wide: bool = False, wraps: bool = False) -> Column:
    """The column of one (possibly nested) key."""

    def text(row: Row, now: float) -> str:
        value: Any = row
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return _text(value)

    return Column(title, text, only_wide, wraps)


def _text(value: Any) -> str:
    if value in ("", [], {}):
        return NOTHING
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ",".join(str(each) for each in value)
        case Mapping():
            return ",".join(f"{key}={each}" for key, each in value.items())
        case _:
            return NOTHING if value is None else str(value)


def _age(title: str, key: str, only_wide: bool = False) -> Column:
    def text(row: Row, now: float) -> str:
        return NOTHING if row.get(key) is None else age_text(now - row[key])

    return Column(title, text, only_wide)


def _after(title: str, key: str, since: str, only_wide: bool = False) -> Column:
    """How long after ``since`` (another key) something happened."""

    def text(row: Row, now: float) -> str:
        if row.get(key) is None or row.get(since) is None:
            return NOTHING
        return f"+{age_text(row[key] - row[since])}"

    return Column(title, text, only_wide)


def _selector(row: Row, now: float) -> str:
    selector = row["spec"]["selector"]
    words = [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
    for line in selector.get("matchExpressions", []):
        values = f" ({','.join(line['values'])})" if line.get("values") else ""
        words.append(f"{line['key']} {line['operator']}{values}")
    return ", ".join(words) or "every guest"


def _selected(row: Row, now: float) -> str:
    return str(len(row["status"]["selectedGuests"]))


def _ports(row: Row, now: float) -> str:
    return ", ".join(vnic["port"] or "no port" for vnic in row["vnics"]) or "no vnics"


def _refused(row: Row, now: float) -> str:
    return "; ".join(f"{vnic['mac']}: {vnic['refused']}" for vnic in row["vnics"] if vnic["refused"]) or NOTHING


def _path(row: Row, now: float) -> str:
    if row["openReason"]:
        return f"uninspected: {row['openReason']}"
    hops = [f"{hop['appliance']}{' (remote)' if hop['remote'] else ''}" for hop in row["path"]]
    return " → ".join(hops) or NOTHING


def _lanes(row: Row, now: float) -> str:
    return ",".join(str(hop["lane"]) for hop in row["path"]) or NOTHING


def _problems(row: Row, now: float) -> str:
    wrong = [f"{each['type']}: {each['reason']}" for each in row["conditions"] if not each["status"]]
    return "; ".join(wrong) or NOTHING


def _frames(*names: str) -> Callable[[Row, float], str]:
    def text(row: Row, now: float) -> str:
        return count_text(sum(row["counters"].get(name, {}).get("frames", 0) for name in names))

    return text


COLUMNS: Mapping[Kind, tuple[Column, ...]] = {
    SECURITY_POLICY: (
        _field("NAME", "metadata", "name"),
        _field("PRIORITY", "spec", "priority"),
        Column("SELECTOR", _selector, wraps=True),
        _field("CONTROLS", "spec", "controls"),
        _field("ON MISSING", "spec", "onMissing"),
        _field("ON FAILURE", "spec", "failurePolicy"),
        Column("GUESTS", _selected),
        _field("PLACEMENT", "spec", "placement", only_wide=True),
        _field("HANDOVER", "spec", "handover", "mode", only_wide=True),
    ),
    APPLIANCE_CLASS: (
        _field("NAME", "metadata", "name"),
        _field("CONTROLS", "spec", "controls"),
        _field("IMAGE", "spec", "image"),
        _field("FORMAT", "spec", "format"),
        _field("RULESET", "spec", "ruleset"),
        _field("BUILT IN", "status", "builtin"),
        _field("MEMORY MiB", "spec", "memoryMiB", only_wide=True),
        _field("READY WITHIN s", "spec", "readyWithinSeconds", only_wide=True),
        _field("RATED WIRES", "spec", "ratedWires", only_wide=True),
    ),
    RULE_SET: (
        _field("NAME", "metadata", "name"),
        _field("ENGINE", "spec", "engine"),
        _field("RULES", "status", "rules"),
        _field("DIGEST", "status", "digest"),
    ),
    GUEST: (
        _field("NAME", "name"),
        _field("SERVER", "server"),
        _field("STATE", "state"),
        _field("POLICY", "policy"),
        _field("LABELS", "labels", wraps=True),
        Column("PORTS", _ports),
        _field("UUID", "uuid", only_wide=True),
        Column("REFUSED", _refused, only_wide=True, wraps=True),
    ),
    SERVER: (
        _field("NAME", "name"),
        _field("CONNECTED", "connected"),
        _field("GUESTS", "guests"),
        _field("WIRES", "wires"),
        Column("APPLIANCES", lambda row, now: f"{row['appliances']}/{row['applianceSlots']}"),
        Column("APPLIED", lambda row, now: f"{row['appliedGeneration']}/{row['intentGeneration']}"),
        Column("PROBLEMS", _problems, wraps=True),
        _field("TUNNEL ADDRESS", "tunnelAddress", only_wide=True),
        _field("TUNNEL MTU", "tunnelMtu", only_wide=True),
    ),
    APPLIANCE: (
        _field("NAME", "name"),
        _field("CLASS", "class"),
        _field("SERVER", "server"),
        _field("STATE", "state"),
        _field("WIRES", "wires"),
        _after("READY AFTER", "readyAt", "requestedAt"),
        _age("AGE", "requestedAt"),
        _field("REASON", "reason", wraps=True),
        _field("ATTEMPTS", "attempts", only_wide=True),
        _field("RULES", "rulesetDigest", only_wide=True),
    ),
    WIRE: (
        _field("GUEST", "guest"),
        _field("SERVER", "server"),
        _field("PORT", "port"),
        _field("STATE", "state"),
        Column("PATH", _path),
        _field("APPLIED", "applied"),
        Column("FROM GUEST", _frames("passed_egress")),
        Column("TO GUEST", _frames("passed_ingress")),
        _field("MAC", "mac", only_wide=True),
        _field("POLICY", "policy", only_wide=True),
        Column("LANE", _lanes, only_wide=True),
        _age("SINCE", "activeSince", only_wide=True),
        _field("BEFORE ARMING", "framesBeforeArming", only_wide=True),
        _field("REASON", "reason", only_wide=True, wraps=True),
    ),
    MOVE: (
        _field("GUEST", "guest"),
        _field("FROM", "from"),
        _field("TO", "to"),
        _field("STATE", "state"),
        _age("AGE", "arrivalSeen"),
        _after("ARMED", "armed", "arrivalSeen"),
        _after("RUNNING", "guestRunning", "arrivalSeen"),
        _after("REQUESTED", "applianceRequested", "arrivalSeen"),
        _after("READY", "applianceReady", "arrivalSeen"),
        _after("SWITCHED", "switched", "arrivalSeen"),
        _field("INTERIM", "interimAppliance", only_wide=True),
        _field("FINAL", "finalAppliance", only_wide=True),
        _field("VNIC", "vnic", only_wide=True),
    ),
}
