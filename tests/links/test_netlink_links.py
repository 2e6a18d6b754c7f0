"""Links in a network namespace of the test's own: who appears is told, who is there is listed, the tunnel is made."""

import asyncio
import ctypes
import os
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
import structlog

from outrider.domain.observation import PortObservation
from outrider.links import NetlinkLinks, TunnelRefused
from outrider.links.netlink import BUFFER_BYTES

pytestmark = pytest.mark.system
CLONE_NEWNET = 0x4000_0000


def in_new_namespace(story: Callable[[], Awaitable[None]]) -> None:
    """Run ``story`` in a thread that has a network namespace of its own, which ends with the thread."""
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    failures: list[BaseException] = []

    def tell() -> None:
        try:
            assert ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) == 0
            asyncio.run(story())  # type: ignore[arg-type]
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=tell)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def ip(command: str, batch: str | None = None) -> str:
    return subprocess.run(["ip", *command.split()], input=batch, check=True, stdout=subprocess.PIPE, text=True).stdout


class Watch:
    """What a started ``NetlinkLinks`` told."""

    def __init__(self, buffer_bytes: int = BUFFER_BYTES) -> None:
        self.links = NetlinkLinks(buffer_bytes)
        self.appeared: dict[str, float] = {}
        self.changes = 0

    def _change(self) -> None:
        self.changes += 1

    def _port(self, port: PortObservation) -> None:
        self.appeared.setdefault(port.name, time.monotonic())

    async def start(self) -> None:
        await self.links.start(self._change, self._port)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110  (what is waited for has no event of its own)
                await asyncio.sleep(0.001)

    def port(self, name: str) -> PortObservation | None:
        return next((port for port in self.links.snapshot() if port.name == name), None)


def test_a_port_that_appears_is_told_within_milliseconds() -> None:
    async def story() -> None:
        watch = Watch()
        await watch.start()
        late = []
        for number in range(20):
            ip(f"link add a{number} type veth peer name b{number}")
            made = time.monotonic()
            await watch.until(lambda number=number: f"a{number}" in watch.appeared and f"b{number}" in watch.appeared)
            late.append(watch.appeared[f"a{number}"] - made)
        assert sorted(late)[-2] < 0.05
        await watch.links.stop()

    in_new_namespace(story)


def test_ports_that_were_there_before_are_told_at_the_start() -> None:
    async def story() -> None:
        ip("link add early type veth peer name peer")
        watch = Watch()
        await watch.start()
        assert {"early", "peer", "lo"} <= set(watch.appeared)
        await watch.links.stop()

    in_new_namespace(story)


def test_a_snapshot_says_kind_mtu_master_state_and_counters() -> None:
    async def story() -> None:
        watch = Watch()
        ip("link add br0 type bridge")
        ip("link add va type veth peer name vb")
        ip("link set va mtu 1400 master br0 up")
        ip("link set vb up")
        a = watch.port("va")
        assert a is not None
        assert (a.kind, a.mtu, a.master, a.up) == ("veth", 1400, "br0", True)
        bridge = watch.port("br0")
        assert bridge is not None and (bridge.kind, bridge.master) == ("bridge", None)
        watch.links.ensure_tunnel("t", 4790, 1504)
        tunnel = watch.port("t")
        assert tunnel is not None and tunnel.kind == "vxlan"

    in_new_namespace(story)


def test_received_frames_are_counted_by_the_port() -> None:
    async def story() -> None:
        watch = Watch()
        ip("link add va type veth peer name vb")
        ip("link set va up")
        ip("link set vb up")
        before = watch.port("va")
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(("vb", 0))
            for _ in range(7):
                wire.send(b"\xff" * 6 + b"\x02" * 6 + b"\x88\xb5" + b"\0" * 50)
        after = watch.port("va")
        assert before is not None and after is not None
        assert after.rx_packets - before.rx_packets >= 7

    in_new_namespace(story)


def test_a_port_leaving_its_bridge_has_changed_but_not_vanished() -> None:
    async def story() -> None:
        watch = Watch()
        ip("link add br0 type bridge")
        ip("link add va type veth peer name vb")
        ip("link set va master br0")
        await watch.start()
        told = dict(watch.appeared)
        changes = watch.changes
        ip("link set va nomaster")
        await watch.until(lambda: watch.changes > changes)
        port = watch.port("va")
        assert port is not None and port.master is None
        assert watch.appeared == told
        await watch.links.stop()

    in_new_namespace(story)


def test_a_port_that_vanishes_is_no_longer_listed_and_told_anew_when_it_returns() -> None:
    async def story() -> None:
        watch = Watch()
        ip("link add va type veth peer name vb")
        await watch.start()
        changes = watch.changes
        ip("link del va")
        await watch.until(lambda: watch.changes > changes)
        assert watch.port("va") is None
        watch.appeared.clear()
        ip("link add va type veth peer name vb")
        await watch.until(lambda: "va" in watch.appeared)
        await watch.links.stop()

    in_new_namespace(story)


def test_lost_notifications_are_made_good() -> None:
    async def story() -> None:
        with structlog.testing.capture_logs() as said:
            await lose_and_find()
        assert any("were lost" in str(entry["event"]) for entry in said)

    async def lose_and_find() -> None:
        watch = Watch(buffer_bytes=1 << 16)
        await watch.start()
        # nobody reads while far more is said than the socket's buffer holds
        ip("-batch -", "".join(f"link add a{n} type veth peer name b{n}\n" for n in range(100)))
        await watch.until(lambda: len(watch.appeared) >= 201)
        assert {f"a{n}" for n in range(100)} | {f"b{n}" for n in range(100)} <= set(watch.appeared)
        await watch.links.stop()

    in_new_namespace(story)


def test_the_tunnel_is_external_has_our_port_and_making_it_twice_changes_nothing() -> None:
    async def story() -> None:
        links = NetlinkLinks()
        ifindex = links.ensure_tunnel("or-tunnel", 4790, 1504)
        assert links.ensure_tunnel("or-tunnel", 4790, 1600) == ifindex
        said = ip("-d link show or-tunnel")
        assert "vxlan external" in said and "dstport 4790" in said
        assert "nolearning" in said and "mtu 1600" in said and "UP" in said
        assert links.ensure_tunnel("or-tunnel", 4791, 1504) != ifindex

    in_new_namespace(story)


def test_a_tunnel_name_or_port_that_is_taken_is_refused_with_the_reason() -> None:
    async def story() -> None:
        links = NetlinkLinks()
        ip("link add va type veth peer name vb")
        with pytest.raises(TunnelRefused, match="va exists and is not a VXLAN device"):
            links.ensure_tunnel("va", 4790, 1504)
        ip("link add x type vxlan external dstport 4790")
        with pytest.raises(TunnelRefused, match="another VXLAN device has this port"):
            links.ensure_tunnel("or-tunnel", 4790, 1504)

    in_new_namespace(story)
