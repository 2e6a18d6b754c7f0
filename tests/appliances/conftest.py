"""A server for appliances: a network namespace of the test's own, so that nothing of the machine is touched."""

import ctypes
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from appliance_server import Server, until

CLONE_NEWNET = 0x40000000


def _libc(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


@pytest.fixture
def server_namespace() -> Iterator[None]:
    """This process, and all it starts, in a fresh network namespace."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    _libc("unshare", CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    try:
        yield
    finally:
        _libc("setns", before, CLONE_NEWNET)
        os.close(before)


@pytest.fixture
def image_cache() -> Path:
    """Where './run' keeps its images."""
    return Path(os.environ.get("OUTRIDER_CACHE", "/var/cache/outrider"))


@pytest.fixture
async def server(server_namespace: None, tmp_path: Path, image_cache: Path) -> AsyncIterator[Server]:
    made = Server(tmp_path / "a", image_cache)
    yield made
    for agent in made.agents:
        await agent.stop()
    last = await made.agent()
    last.apply([])
    await until(lambda: not last.snapshot(), 20)
    await last.stop()
    assert made.left_behind() == []
