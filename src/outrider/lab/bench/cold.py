"""How long an appliance takes from being requested to having proved that it inspects, with nothing prepared for it.

The product's own adapter does it, in an outpost in a server: what is measured is what a wire on its interim path waits
for. Each appliance is retired before the next is asked for.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from outrider.appliances.local import LocalAppliances
from outrider.domain.appliance import ApplianceClass, ApplianceFormat, ApplianceName, ApplianceState
from outrider.domain.intent import ApplianceIntent
from outrider.domain.ruleset import RuleSet
from outrider.lab.bench.bed import FIRST_SERVER, Bed
from outrider.lab.bench.figure import Figure
from outrider.steering.backend import EbpfSteering

_READY_WITHIN_S = 60.0
_RULES = RuleSet("bench", 'drop tcp any any -> any 80 (msg:"bench"; content:"/attack"; http_uri; sid:1000001;)\n')


class ApplianceFailed(Exception):
    """An appliance did not become ready; the message is its reason."""


class ApplianceMaker:
    """Has appliances made by the product's adapter; lives in an outpost in a server."""

    def __init__(self, cache_dir: Path, folder: Path) -> None:
        self._cache_dir, self._folder = cache_dir, folder
        self._steering = EbpfSteering(FIRST_SERVER, cache_dir=cache_dir)
        self._made = 0

    def ready_ms(self, image: str, form: ApplianceFormat) -> float:
        """Milliseconds from the request until the appliance is ready. Raises ``ApplianceFailed``; it is gone then."""
        self._made += 1
        made = ApplianceClass(f"bench-{image}", ("none",), image, form, ready_within_s=_READY_WITHIN_S)
        name = str(ApplianceName(FIRST_SERVER, made.name, self._made))
        return asyncio.run(self._story(ApplianceIntent(name, made, _RULES if image == "suricata-ips" else None)))

    async def _story(self, intent: ApplianceIntent) -> float:
        changed = asyncio.Event()
        guard, mark = self._steering.guard_appliance_ports, self._steering.entering_mark
        appliances = LocalAppliances(FIRST_SERVER, self._folder, guard, self._cache_dir, mark)
        await appliances.start(changed.set)
        try:
            # found out before, since an agent does it once and not for each appliance
            await asyncio.to_thread(appliances.accelerator)
            began = time.perf_counter()
            appliances.apply([intent])
            async with asyncio.timeout(_READY_WITHIN_S):
                await _until_ready(appliances, changed)
            return (time.perf_counter() - began) * 1e3
        finally:
            appliances.apply([])
            await _until_gone(appliances, changed)
            await appliances.stop()


async def _until_ready(appliances: LocalAppliances, changed: asyncio.Event) -> None:
    while True:
        changed.clear()
        (seen,) = appliances.snapshot()
        if seen.state is ApplianceState.READY:
            return
        if seen.state is ApplianceState.FAILED:
            raise ApplianceFailed(seen.reason)
        await changed.wait()


async def _until_gone(appliances: LocalAppliances, changed: asyncio.Event) -> None:
    async with asyncio.timeout(_READY_WITHIN_S):
        while appliances.snapshot():
            changed.clear()
            await changed.wait()


def measure_cold(bed: Bed, cache_dir: Path, image: str, form: ApplianceFormat, times: int) -> Iterator[Figure]:
    """Milliseconds until an appliance of ``image`` in this format is ready, ``times`` times one after the other."""
    server = bed.server(FIRST_SERVER)
    maker = bed.outpost(server, ApplianceMaker, cache_dir, bed.paths.home / "made")
    took = [maker.call("ready_ms", image, form) for _ in range(times)]
    yield Figure.of("appliance_cold_ms", took, image=image, format=form.value)
