"""Every frame a guest may send goes through an appliance whole: full size, with a tag of its own, and not only IP."""

import asyncio
import subprocess

import pytest
from appliance_server import RULES, Server, appliance, ready, until
from lane_traffic import GUEST, WEB, comes_out
from scapy.all import ARP, IP, UDP, Dot1Q, Ether, Raw

from outrider.appliances.ports import AppliancePorts
from outrider.domain.appliance import ApplianceFormat
from outrider.domain.ruleset import RuleSet

pytestmark = pytest.mark.system
LANE = 9
KINDS = [
    pytest.param("bridge-null", ApplianceFormat.CONTAINER, None, id="bridge-container"),
    pytest.param("suricata-ips", ApplianceFormat.CONTAINER, RULES, id="suricata-container"),
    pytest.param("bridge-null", ApplianceFormat.VM, None, id="bridge-vm", marks=pytest.mark.vm),
    pytest.param("suricata-ips", ApplianceFormat.VM, RULES, id="suricata-vm", marks=pytest.mark.vm),
]


def _full_size() -> IP:
    """1,500 bytes from the IP header on: what a guest with the usual MTU sends at most."""
    return IP(src=GUEST[1], dst=WEB[1]) / UDP(sport=5000, dport=5001, chksum=0) / Raw(b"x" * 1472)


FRAMES = {
    "full size": _full_size(),
    "full size with a tag of the guest's own": Dot1Q(vlan=55) / _full_size(),
    "an ARP request": ARP(op="who-has", psrc=GUEST[1], pdst=WEB[1]),
}
TARGETS = {"an ARP request": "ff:ff:ff:ff:ff:ff"}


def _offloads(port: str) -> list[str]:
    """What the kernel would leave for ``port`` to finish: an engine that reads frames itself must get none of it."""
    shown = subprocess.run(["ethtool", "-k", port], capture_output=True, text=True, check=True).stdout
    names = ("tx-checksumming", "tcp-segmentation-offload", "generic-segmentation-offload")
    features = dict(line.strip().split(": ", 1) for line in shown.splitlines()[1:] if ": " in line)
    return [name for name in names if features[name].startswith("on")]


@pytest.mark.parametrize(("image", "form", "rules"), KINDS)
async def test_each_kind_of_frame_comes_out_as_it_went_in(
    server: Server, image: str, form: ApplianceFormat, rules: RuleSet | None
) -> None:
    agent = await server.agent()
    agent.apply([appliance(image=image, form=form, rules=rules)])
    await ready(agent)
    ports = agent.ports("a-1")
    assert ports is not None
    for name, inner in FRAMES.items():
        frame = bytes(Ether(src=GUEST[0], dst=TARGETS.get(name, WEB[0])) / Dot1Q(vlan=LANE, prio=5) / inner)
        assert await asyncio.to_thread(comes_out, frame, *ports), f"egress: {name}"
        assert await asyncio.to_thread(comes_out, frame, *reversed(ports)), f"ingress: {name}"
    if rules or form is ApplianceFormat.VM:
        assert [_offloads(port) for port in AppliancePorts.of("a-1").both] == [[], []]


async def test_what_an_agent_killed_while_creating_left_is_swept(server: Server) -> None:
    agent = await server.agent()
    agent.apply([appliance()])
    await ready(agent)
    await agent.stop()
    (orphan,) = server.processes()
    (folder,) = server.state_dir.iterdir()
    (folder / "record.json").unlink()  # as if it had been killed before it could write one

    successor = await server.agent()
    assert server.left_behind() == []
    successor.apply([appliance()])
    await ready(successor)
    assert orphan not in server.processes()
    successor.apply([])
    await until(lambda: not successor.snapshot(), 10)
