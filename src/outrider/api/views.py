"""What the API shows of objects: declared ones with a status beside the manifest, observed ones as their rows."""

from collections.abc import Callable, Sequence
from typing import Any

from outrider.api.state import ApiState, Row
from outrider.domain.appliance import ApplianceClass
from outrider.domain.policy import SecurityPolicy
from outrider.domain.ruleset import RuleSet
from outrider.manifests.builtin import builtin_classes, with_builtins
from outrider.manifests.convert import Declared, kind_of, to_manifest
from outrider.manifests.guest_labels import GuestLabels
from outrider.manifests.kinds import APPLIANCE, GUEST, MOVE, SERVER, WIRE, Kind

_ROW_NAME = {GUEST: "name", SERVER: "name", APPLIANCE: "name", WIRE: "id", MOVE: "guest"}


async def list_items(state: ApiState, kind: Kind, name: str | None = None) -> list[dict[str, Any]]:
    """All objects of a kind, or those called ``name`` (a guest's UUID does as well)."""
    if kind.declared and kind is not GUEST:
        values = with_builtins((await state.declared.read()).values)
        found = [value for value in values if kind_of(value) is kind and name in (None, value.name)]
        guests = await state.rows(GUEST.plural)
        return [{**to_manifest(value), "status": _status(value, guests)} for value in found]
    rows = await state.rows(kind.plural)
    return [dict(row) for row in rows if name is None or name in _names(kind, row)]


async def describe(state: ApiState, kind: Kind, name: str) -> dict[str, Any] | None:
    """Everything about one object, with what belongs to it; None when it is not known."""
    if kind is GUEST:
        return await _describe_guest(state, name)
    items = await list_items(state, kind, name)
    if not items:
        return None
    if kind is SERVER:
        return {**items[0], **await _belonging(state, lambda row: row.get("server") == name, "guests", "wires")}
    if kind is APPLIANCE:
        wires = await state.rows(WIRE.plural)
        return {**items[0], "wireDetails": [row for row in wires if _passes(row, name)]}
    if kind is MOVE:
        return {"items": items}
    return items[0]


async def _describe_guest(state: ApiState, name: str) -> dict[str, Any] | None:
    presences = await list_items(state, GUEST, name)
    declared = [value for value in (await state.declared.read()).values if isinstance(value, GuestLabels)]
    called = {name} | {str(row[key]) for row in presences for key in ("name", "uuid")}
    labels = [to_manifest(value) for value in declared if value.guest in called]
    if not presences and not labels:
        return None
    uuids = {row["uuid"] for row in presences}
    wires = [row for row in await state.rows(WIRE.plural) if row["uuid"] in uuids]
    moves = [row for row in await state.rows(MOVE.plural) if str(row["vnic"]).partition("/")[0] in uuids]
    return {
        "kind": GUEST.name,
        "name": presences[0]["name"] if presences else name,
        "presences": presences,
        "declaredLabels": labels,
        "wires": wires,
        "moves": moves,
    }


async def _belonging(state: ApiState, belongs: Callable[[Row], bool], *plurals: str) -> dict[str, list[Row]]:
    rows = {plural: await state.rows(plural) for plural in plurals}
    return {f"{plural.removesuffix('s')}Details": [row for row in rows[plural] if belongs(row)] for plural in plurals}


def _passes(wire: Row, appliance: str) -> bool:
    return any(hop["appliance"] == appliance for hop in wire["path"])


def _names(kind: Kind, row: Row) -> tuple[str, ...]:
    name = str(row[_ROW_NAME[kind]])
    return (name, str(row["uuid"])) if kind is GUEST else (name,)


def _status(value: Declared, guests: Sequence[Row]) -> dict[str, Any]:
    match value:
        case SecurityPolicy():
            selected = {row["uuid"]: row["name"] for row in guests if value.selector.matches(row["labels"])}
            winning = {row["uuid"] for row in guests if row["policy"] == value.name}
            return {"selectedGuests": sorted(selected.values()), "appliedGuests": len(winning)}
        case ApplianceClass():
            return {"builtin": value in builtin_classes()}
        case RuleSet():
            rules = [line for line in value.text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
            return {"digest": value.digest, "rules": len(rules)}
        case GuestLabels():
            return {}
