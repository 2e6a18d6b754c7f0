"""What READY is worth: an engine that is ready inspects, one that does not inspect never becomes ready."""

import asyncio
import os
import signal

import pytest
from appliance_server import RULES, Server, appliance, ready, seen, until
from lane_traffic import Conversation

from outrider.appliances import bridge, suricata
from outrider.domain.appliance import ApplianceFormat, ApplianceState
from outrider.domain.ruleset import RuleSet

pytestmark = pytest.mark.system
FORMATS = [ApplianceFormat.CONTAINER, pytest.param(ApplianceFormat.VM, marks=pytest.mark.vm)]


@pytest.mark.parametrize("form", FORMATS)
async def test_an_attack_is_stopped_and_what_is_benign_passes_in_each_lane(
    server: Server, form: ApplianceFormat
) -> None:
    agent = await server.agent()
    agent.apply([appliance(image="suricata-ips", form=form, rules=RULES)])
    await ready(agent)
    ports = agent.ports("a-1")
    assert ports is not None
    for number, lane in enumerate((7, 8)):
        # The same addresses and ports in both lanes: two tenants that do not know of each other.
        assert await asyncio.to_thread(Conversation(ports, lane, 40_000).request, "/index.html"), number
        assert not await asyncio.to_thread(Conversation(ports, lane, 40_001, 1.0).request, "/attack"), number


@pytest.mark.parametrize("form", FORMATS)
async def test_new_rules_reach_a_running_engine(server: Server, form: ApplianceFormat) -> None:
    agent = await server.agent()
    agent.apply([appliance(image="suricata-ips", form=form, rules=RULES)])
    await ready(agent)
    ports, processes = agent.ports("a-1"), server.processes()
    assert ports is not None
    stricter = RuleSet("stricter", RULES.text + RULES.text.replace("/attack", "/secret").replace("1000001", "1000002"))

    agent.apply([appliance(image="suricata-ips", form=form, rules=stricter)])
    await until(lambda: seen(agent).ruleset_digest == stricter.digest, 30)
    assert seen(agent).state is ApplianceState.READY
    assert server.processes() == processes
    assert not await asyncio.to_thread(Conversation(ports, 7, 40_002, 1.0).request, "/secret")

    broken = RuleSet("broken", "drop nonsense\n")
    agent.apply([appliance(image="suricata-ips", form=form, rules=broken)])
    await until(lambda: "rule set broken are refused: 1 of 2 rules do not load" in seen(agent).reason, 30)
    assert seen(agent).state is ApplianceState.READY
    assert seen(agent).ruleset_digest == stricter.digest
    assert not await asyncio.to_thread(Conversation(ports, 7, 40_003, 1.0).request, "/secret")


@pytest.mark.parametrize("form", FORMATS)
async def test_an_engine_that_forwards_without_rules_never_becomes_ready(
    server: Server, monkeypatch: pytest.MonkeyPatch, form: ApplianceFormat
) -> None:
    monkeypatch.setattr(suricata, "rules_text", lambda ruleset: "")
    agent = await server.agent()
    agent.apply([appliance(image="suricata-ips", form=form, rules=RULES, ready_within_s=150.0)])
    await until(lambda: "canaries came out: its rules are not in force" in seen(agent).reason, 120)
    states = set()
    with pytest.raises(TimeoutError):
        await until(lambda: states.add(seen(agent).state), 2)
    assert states == {ApplianceState.PROVING}


async def test_an_attempt_that_proves_nothing_ends_in_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suricata, "rules_text", lambda ruleset: "")
    agent = await server.agent()
    agent.apply([appliance(image="suricata-ips", rules=RULES, ready_within_s=1.5)])
    await until(lambda: seen(agent).state is ApplianceState.FAILED, 10)
    assert "not ready within 1.5 s: 16 of 16 canaries came out" in seen(agent).reason


async def test_the_engine_says_itself_how_much_it_blocked(server: Server) -> None:
    agent = await server.agent()
    agent.apply([appliance(image="suricata-ips", rules=RULES)])
    await ready(agent)
    await until(lambda: "blocked" in seen(agent).counters, 30)
    counters = seen(agent).counters
    # Only probes so far: each flow's canary was blocked and its benign frame accepted.
    assert counters["blocked"].frames >= 16
    assert counters["accepted"].frames >= 16
    assert counters["kernel_drops"].frames == 0


async def test_rules_that_do_not_load_are_named(server: Server) -> None:
    agent = await server.agent()
    agent.apply([appliance(image="suricata-ips", rules=RuleSet("broken", "drop nonsense\n"))])
    await until(lambda: seen(agent).state is ApplianceState.FAILED, 20)
    assert seen(agent).reason == "1 of 2 rules do not load: drop nonsense"


async def test_an_appliance_that_stops_forwarding_loses_its_readiness(server: Server) -> None:
    agent = await server.agent()
    agent.apply([appliance(image="suricata-ips", rules=RULES)])
    await ready(agent)
    (process,) = server.processes()
    os.kill(process, signal.SIGSTOP)
    await until(lambda: seen(agent).state is ApplianceState.FAILED, 20)
    assert "probes did not come out" in seen(agent).reason
    assert agent.ports("a-1") is None


async def test_an_image_that_never_becomes_ready_is_retried_with_growing_pauses(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "container_script", lambda: "exec sleep infinity\n")
    agent = await server.agent()
    agent.apply([appliance(ready_within_s=0.2)])
    started = []
    loop = asyncio.get_running_loop()
    for attempt in (1, 2, 3):
        await until(lambda attempt=attempt: seen(agent).attempts == attempt, 10)
        started.append(loop.time())
    await until(lambda: seen(agent).state is ApplianceState.FAILED, 5)
    assert seen(agent).reason == "not ready within 0.2 s: 16 of 16 probes did not come out (egress and ingress)"
    assert started[2] - started[1] > started[1] - started[0] + 0.5
    await until(lambda: not server.ports(), 2)


async def test_an_image_that_is_not_built_says_what_to_run(server: Server) -> None:
    server.cache = server.state_dir.parent / "empty"
    agent = await server.agent()
    agent.apply([appliance(image="suricata-ips", form=ApplianceFormat.VM)])
    await until(lambda: seen(agent).state is ApplianceState.FAILED, 5)
    assert seen(agent).reason == (
        "image suricata-ips is not built on this server: run 'outrider image build suricata-ips'"
    )
