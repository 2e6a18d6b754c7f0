"""Satisfies the agent's ``Links`` protocol with netlink: who appears is told at once, who is there is read when asked.

New interfaces are reported from the very read event that brings them, since a vnic port must be armed before its guest
sends. Everything else is only "look again". When the kernel had to throw notifications away (ENOBUFS), the links are
listed afresh and compared, so that nothing which appeared goes unreported.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from outrider.domain.observation import PortObservation
from outrider.links.rtnetlink import LinkMessage, LinkRequests, decode_links, open_watch, receive
from outrider.links.tunnel import ensure_tunnel

BUFFER_BYTES = 1 << 21

log = structlog.get_logger("links")


class NetlinkLinks:
    """Links of the network namespace that this object was started in.

    ``buffer_bytes`` bounds how much the kernel keeps for us while we are busy; what does not fit is listed afresh.
    """

    def __init__(self, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._buffer_bytes = buffer_bytes
        self._requests = LinkRequests()
        self._watch: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._known: dict[int, tuple[PortObservation, int]] = {}
        self._on_change: Callable[[], None] = lambda: None
        self._on_port: Callable[[PortObservation], None] = lambda port: None

    async def start(self, on_change: Callable[[], None], on_port: Callable[[PortObservation], None]) -> None:
        """Begin watching. ``on_port`` is called in the event loop for each interface that is there or appears."""
        self._on_change, self._on_port = on_change, on_port
        self._watch, self._loop = open_watch(self._buffer_bytes), asyncio.get_running_loop()
        self._loop.add_reader(self._watch.fileno(), self._read_notifications)
        self._resync()

    async def stop(self) -> None:
        """Stop watching; harmless when never started."""
        if self._watch and self._loop:
            self._loop.remove_reader(self._watch.fileno())
            self._watch.close()
        self._watch = None

    def snapshot(self) -> Sequence[PortObservation]:
        """Every interface with its counters, read now: about 1 ms for a hundred. Raises ``OSError``."""
        links = self._requests.links()
        names = {link.port.ifindex: link.port.name for link in links}
        return [replace(link.port, master=names.get(link.master)) if link.master else link.port for link in links]

    def _read_notifications(self) -> None:
        assert self._watch is not None
        changed = False
        while True:
            try:
                datagram = receive(self._watch)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                log.warning("link notifications were lost: listing all links again")
                self._resync()
                changed = True
                continue
            for link in decode_links(datagram):
                changed = self._take_in(link) or changed
        if changed:
            self._on_change()

    def _take_in(self, link: LinkMessage) -> bool:
        """Remember one link; True when anything but its counters differs from before."""
        port = link.port
        if link.gone:
            return self._known.pop(port.ifindex, None) is not None
        plain = replace(port, rx_packets=0, tx_packets=0), link.master
        before = self._known.get(port.ifindex)
        self._known[port.ifindex] = plain
        if before is None or before[0].name != port.name:
            self._on_port(self._with_master(link))
        return plain != before

    def _with_master(self, link: LinkMessage) -> PortObservation:
        master = self._known.get(link.master)
        return replace(link.port, master=master[0].name) if master else link.port

    def _resync(self) -> None:
        links = self._requests.links()
        there = {link.port.ifindex for link in links}
        self._known = {ifindex: port for ifindex, port in self._known.items() if ifindex in there}
        for link in links:
            self._take_in(link)

    def ensure_tunnel(self, name: str, udp_port: int, mtu: int) -> int:
        """As ``tunnel.ensure_tunnel``."""
        return ensure_tunnel(self._requests, name, udp_port, mtu)
