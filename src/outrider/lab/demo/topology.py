"""The lab drawn: servers, what runs on them, and the way a guest's packets take, as inline SVG.

A drawing shows one stage. Guests stand below and appliances above in each server's box; a coloured line joins a guest
to the appliance that inspects it, so that a line crossing from one server to another *is* the remote hop.
"""

from collections.abc import Mapping, Sequence
from html import escape

from outrider.lab.demo.result import Spot, Stage

_BOX_W, _BOX_H, _GAP = 188, 158, 22
_MARGIN, _TOP = 12, 10
_CHIP_W, _CHIP_H = 164, 34
_GUEST_Y, _APPLIANCE_Y = 112, 36
_FABRIC_Y = _TOP + _BOX_H + 24


def draw_stage(stage: Stage, servers: Sequence[str], colours: Mapping[str, str]) -> str:
    """The SVG of one stage; ``colours`` are the guests'. Every text in it is escaped."""
    left = {server: _MARGIN + index * (_BOX_W + _GAP) for index, server in enumerate(servers)}
    width = 2 * _MARGIN + len(servers) * _BOX_W + (len(servers) - 1) * _GAP
    places = _places(stage, left)
    inset = (_BOX_W - _CHIP_W) / 2
    parts = [_server(server, at) for server, at in left.items()]
    parts += [_fabric(width, left)]
    parts += [_path(spot, left, places, colours) for spot in stage.spots if spot.server in left]
    parts += [
        _chip(
            left[server] + inset,
            _CHIP_W,
            _TOP + _APPLIANCE_Y,
            f"{name} …" if name in stage.unproven else name,
            "unproven" if name in stage.unproven else "appliance",
        )
        for name, server in sorted(stage.appliances.items())
        if server in left
    ]
    parts += [
        _chip(*places[spot.guest], _TOP + _GUEST_Y, spot.guest, "guest", colours.get(spot.guest, "#555"))
        for spot in stage.spots
        if spot.server in left
    ]
    label = escape(f"The lab, {stage.title}")
    height = _FABRIC_Y + 34
    return (
        f'<svg class="topology" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    )


def _places(stage: Stage, left: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """(left edge, width) of each guest's chip: the guests of one server stand side by side."""
    places: dict[str, tuple[float, float]] = {}
    for server, at in left.items():
        here = [spot.guest for spot in stage.spots if spot.server == server]
        width = (_CHIP_W - 6 * (len(here) - 1)) / max(len(here), 1)
        for place, guest in enumerate(here):
            places[guest] = (at + (_BOX_W - _CHIP_W) / 2 + place * (width + 6), width)
    return places


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


def _chip(left: float, width: float, y: float, text: str, kind: str, colour: str = "") -> str:
    style = f' style="fill:{escape(colour)}"' if colour else ""
    return (
        f'<rect class="{kind}" x="{left}" y="{y}" width="{width}" height="{_CHIP_H}" rx="8"{style}/>'
        f'<text class="{kind}-name" x="{left + width / 2}" y="{y + 22}">{escape(text)}</text>'
    )


def _path(
    spot: Spot, left: Mapping[str, float], places: Mapping[str, tuple[float, float]], colours: Mapping[str, str]
) -> str:
    if spot.appliance_server not in left:
        return ""
    at, width = places[spot.guest]
    x1, y1 = at + width / 2, _TOP + _GUEST_Y
    is_local = spot.server == spot.appliance_server
    x2 = x1 if is_local else left[str(spot.appliance_server)] + _BOX_W / 2
    y2 = _TOP + _APPLIANCE_Y + _CHIP_H
    middle = (y1 + y2) / 2
    colour = escape(colours.get(spot.guest, "#555"))
    line = (
        f'<path class="{"path" if is_local else "path remote"}" style="stroke:{colour}" '
        f'd="M{x1},{y1} C{x1},{middle} {x2},{middle} {x2},{y2}"/>'
        f'<circle cx="{x2}" cy="{y2}" r="4" style="fill:{colour}"/>'
    )
    if is_local:
        return line
    label = f'<text class="path-name" x="{(x1 + x2) / 2}" y="{middle - 7}" style="fill:{colour}">tunnel</text>'
    return line + label
