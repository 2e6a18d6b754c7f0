"""A lab of two servers with libvirt, whose start hook asks agents that the test makes answer."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hypervisors.fake_agent import FakeAgent
from lab.guest_image import CACHE, guest_image
from outrider.hypervisors.hook import install_hook
from outrider.lab.lab import Lab
from outrider.lab.libvirt_daemon import start_libvirt, stop_libvirt


@dataclass(frozen=True)
class HookedLab:
    """The lab, and each server's agent."""

    lab: Lab
    agents: dict[str, FakeAgent]

    def uri(self, server: str) -> str:
        return self.lab.paths.server(server).libvirt_uri

    def stop_libvirt(self, server: str) -> None:
        stop_libvirt(self.lab.paths, self.lab.status().servers[server])

    def start_libvirt(self, server: str) -> None:
        start_libvirt(self.lab.paths, self.lab.status().servers[server], CACHE).wait()


@pytest.fixture(scope="module")
def hooked() -> Iterator[HookedLab]:
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")
    if shutil.which("libvirtd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("libvirtd is not installed")
    guest_image()
    lab = Lab(f"h{os.getpid()}", cache=CACHE, images=guest_image)
    try:
        lab.up(2)
        hooked = HookedLab(lab, {})
        for name in ("s1", "s2"):
            files = lab.paths.server(name)
            install_hook(files.hook_socket, files.etc_libvirt / "hooks", deadline_s=2)
            hooked.agents[name] = FakeAgent(files.hook_socket)
            hooked.stop_libvirt(name)  # libvirt looks for hooks when it starts
            hooked.start_libvirt(name)
        lab.client("c", "10.10.0.1")
        yield hooked
    finally:
        lab.down()
    assert lab.left_behind() == []


@pytest.fixture(autouse=True)
def _no_guest_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "hooked" in request.fixturenames:
        hooked: HookedLab = request.getfixturevalue("hooked")
        for agent in hooked.agents.values():
            agent.answer, agent.silent = {"ok": True}, False
            agent.requests.clear()
        for guest in list(hooked.lab.status().guests):
            hooked.lab.stop_guest(guest)
