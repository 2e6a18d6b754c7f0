"""The lab drawn: servers, what runs on them, and the way a guest's packets take, as inline SVG.

A drawing shows one stage. Guests stand below and appliances above in each server's box; a coloured line joins a guest
to the appliance that inspects it, so that a line crossing from one server to another *is* the remote hop.
"""

from collections.abc import Mapping, Sequence
from html import escape

from outrider.lab.result import Spot, Stage

_BOX_W, _BOX_H, _GAP = 188, 178, 22
_MARGIN, _TOP = 12, 10
_CHIP_W, _CHIP_H = 164, 34
_GUEST_Y, _APPLIANCE_Y = 126, 42
_FABRIC_Y = _TOP + _BOX_H + 24


def draw_stage(stage: Stage, servers: Sequence[str], colours: Mapping[str, str]) -> str:
    """The SVG of one stage; ``colours`` are the guests'. Every text in it is escaped."""
    left = {server: _MARGIN + index * (_BOX_W + _GAP) for index, server in enumerate(servers)}
    width = 2 * _MARGIN + len(servers) * _BOX_W + (len(servers) - 1) * _GAP
    rows = _guest_rows(stage)
    parts = [_server(server, at) for server, at in left.items()]
    parts += [_fabric(width, left)]
    parts += [_path(spot, left, rows, colours) for spot in stage.spots if spot.server in left]
    parts += [
        _chip(left[server], _TOP + _APPLIANCE_Y, name, "appliance")
        for name, server in sorted(stage.appliances.items())
        if server in left
    ]
    parts += [
        _chip(left[spot.server], _guest_y(spot, rows), spot.guest, "guest", colours.get(spot.guest, "#555"))
        for spot in stage.spots
        if spot.server in left
    ]
    label = escape(f"The lab, {stage.title}")
    height = _FABRIC_Y + 34
    return (
        f'<svg class="topology" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


def _guest_rows(stage: Stage) -> dict[str, int]:
    """Which row a guest stands in on its server."""
    rows: dict[str, int] = {}
    taken: dict[str, int] = {}
    for spot in stage.spots:
        rows[spot.guest] = taken.get(spot.server, 0)
        taken[spot.server] = rows[spot.guest] + 1
    return rows


def _guest_y(spot: Spot, rows: Mapping[str, int]) -> float:
    return _TOP + _GUEST_Y - 18 + rows[spot.guest] * (_CHIP_H + 4) if len(set(rows.values())) > 1 else _TOP + _GUEST_Y


def _server(name: str, left: float) -> str:
    return (
        f'<rect class="server" x="{left}" y="{_TOP}" width="{_BOX_W}" height="{_BOX_H}" rx="12"/>'
        f'<text class="server-name" x="{left + 14}" y="{_TOP + 25}">{escape(name)}</text>'
    )


def _fabric(width: float, left: Mapping[str, float]) -> str:
    drops = "".join(
        f'<line class="cable" x1="{at + _BOX_W / 2}" y1="{_TOP + _BOX_H}" x2="{at + _BOX_W / 2}" y2="{_FABRIC_Y}"/>'
        for at in left.values()
    )
    return (
        f'{drops}<line class="fabric" x1="{_MARGIN}" y1="{_FABRIC_Y}" x2="{width - _MARGIN}" y2="{_FABRIC_Y}"/>'
        f'<text class="fabric-name" x="{_MARGIN}" y="{_FABRIC_Y + 22}">the guests’ network; the client is on it</text>'
    )


def _chip(left: float, y: float, text: str, kind: str, colour: str = "") -> str:
    x = left + (_BOX_W - _CHIP_W) / 2
    style = f' style="fill:{escape(colour)}"' if colour else ""
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{_CHIP_W}" height="{_CHIP_H}" rx="8"{style}/>'
        f'<text class="{kind}-name" x="{left + _BOX_W / 2}" y="{y + 22}">{escape(text)}</text>'
    )


def _path(spot: Spot, left: Mapping[str, float], rows: Mapping[str, int], colours: Mapping[str, str]) -> str:
    if spot.appliance_server not in left:
        return ""
    lean = 26 * rows[spot.guest] - 26  # two guests of one server do not share a line
    x1, y1 = left[spot.server] + _BOX_W / 2 + lean, _guest_y(spot, rows)
    x2, y2 = left[str(spot.appliance_server)] + _BOX_W / 2 + lean, _TOP + _APPLIANCE_Y + _CHIP_H
    middle = (y1 + y2) / 2
    colour = escape(colours.get(spot.guest, "#555"))
    kind = "path" if spot.server == spot.appliance_server else "path remote"
    note = ""
    if spot.server != spot.appliance_server:
        note = f'<text class="path-name" x="{(x1 + x2) / 2}" y="{middle - 6}" style="fill:{colour}">tunnel</text>'
    return (
        f'<path class="{kind}" style="stroke:{colour}" d="M{x1},{y1} C{x1},{middle} {x2},{middle} {x2},{y2}"/>'
        f'<circle cx="{x2}" cy="{y2}" r="4" style="fill:{colour}"/>{note}'
    )
