"""Appliances as virtual machines: the same story as containers, with a kernel of their own."""

from collections.abc import Callable

import pytest
from appliance_server import RULES, Server, appliance, ready, until

from outrider.domain.appliance import ApplianceFormat
from outrider.domain.ruleset import RuleSet

pytestmark = [pytest.mark.system, pytest.mark.vm]


@pytest.mark.parametrize(("image", "rules"), [("bridge-null", None), ("suricata-ips", RULES)])
async def test_it_boots_is_proved_and_retired_without_a_trace(
    server: Server, image: str, rules: RuleSet | None, record_property: Callable[[str, object], None]
) -> None:
    agent = await server.agent()
    agent.apply([appliance(image=image, form=ApplianceFormat.VM, rules=rules)])
    found = await ready(agent)
    assert found.ready_at is not None and found.requested_at is not None
    took_ms = round((found.ready_at - found.requested_at) * 1000)
    record_property("cold_ready_ms", took_ms)
    print(f"{image} as a VM: cold ready in {took_ms} ms")
    assert found.attempts == 1
    assert found.ruleset_digest == (rules.digest if rules else None)
    assert server.guarded == [("down", "down")]

    agent.apply([])
    await until(lambda: not agent.snapshot(), 10)
    assert server.left_behind() == []
