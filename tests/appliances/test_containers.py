"""Appliances as containers: created, proved, watched, adopted and retired."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from appliance_server import RULES, Server, appliance, ready, seen, until

from outrider.domain.appliance import ApplianceState
from outrider.domain.ruleset import RuleSet

pytestmark = pytest.mark.system


@pytest.mark.parametrize(("image", "rules"), [("bridge-null", None), ("suricata-ips", RULES)])
async def test_it_is_proved_and_retired_without_a_trace(server: Server, image: str, rules: RuleSet | None) -> None:
    dead_before = zombies()
    agent = await server.agent()
    agent.apply([appliance(image=image, rules=rules)])
    found = await ready(agent)
    assert found.attempts == 1
    assert found.ruleset_digest == (rules.digest if rules else None)
    assert server.guarded == [("down", "down")]
    assert agent.ports("a-1") is not None

    agent.apply([])
    await until(lambda: not agent.snapshot(), 10)
    assert agent.ports("a-1") is None
    assert server.left_behind() == []
    assert zombies() == dead_before, "an agent lives for months: what it started it also buries"


def zombies() -> set[int]:
    """This process's children that ended and were not waited for (fields 3 and 4 of proc_pid_stat(5))."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) == os.getpid():
                found.add(int(stat.parent.name))
    return found


async def test_a_new_agent_adopts_what_runs(server: Server) -> None:
    agent = await server.agent()
    agent.apply([appliance(image="suricata-ips", rules=RULES)])
    before = await ready(agent)
    processes, ports = server.processes(), agent.ports("a-1")
    await agent.stop()
    assert server.processes() == processes

    successor = await server.agent()
    successor.apply([appliance(image="suricata-ips", rules=RULES)])
    after = await ready(successor)
    assert (server.processes(), successor.ports("a-1")) == (processes, ports)
    assert (after.ready_at, after.attempts, after.ruleset_digest) == (before.ready_at, 1, RULES.digest)


async def test_an_engine_that_dies_is_created_again(server: Server) -> None:
    agent = await server.agent()
    agent.apply([appliance()])
    await ready(agent)
    (process,) = server.processes()
    os.kill(process, signal.SIGKILL)
    await until(lambda: seen(agent).state is ApplianceState.FAILED, 2)
    assert "its process ended" in seen(agent).reason
    assert agent.ports("a-1") is None
    assert (await ready(agent)).attempts == 2


async def test_a_server_that_is_full_says_so(server: Server) -> None:
    server.slots = 1
    agent = await server.agent()
    agent.apply([appliance("a-1"), appliance("a-2")])
    await ready(agent)
    refused = seen(agent, "a-2")
    assert refused.state is ApplianceState.FAILED
    assert "server orb is full: 1 of 1" in refused.reason

    agent.apply([appliance("a-2")])
    await ready(agent, "a-2")


async def test_an_image_nobody_knows_is_refused_with_what_there_is(server: Server) -> None:
    agent = await server.agent()
    agent.apply([appliance(image="nonsense")])
    await until(lambda: seen(agent).state is ApplianceState.FAILED, 5)
    assert seen(agent).reason == ("class class: there is no image 'nonsense' (there are: suricata-ips, bridge-null)")
