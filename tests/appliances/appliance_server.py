"""What the tests here share: a server whose agents come and go, and what a controller would ask of it."""

import asyncio
import contextlib
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from outrider.appliances.local import LocalAppliances
from outrider.domain.appliance import ApplianceClass, ApplianceFormat, ApplianceState
from outrider.domain.intent import ApplianceIntent
from outrider.domain.observation import ApplianceObservation
from outrider.domain.ruleset import RuleSet

MARK = 0x0F1D0000
RULES = RuleSet(
    "orb-rules", 'drop http any any -> any any (msg:"attack"; http.uri; content:"/attack"; sid:1000001; rev:1;)\n'
)


@dataclass
class Server:
    """One server whose agents come and go."""

    state_dir: Path
    cache: Path
    slots: int = 4
    guarded: list[tuple[str, str]] = field(default_factory=list)
    agents: list[LocalAppliances] = field(default_factory=list)

    def _guard(self, inport: int, outport: int) -> None:
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        states = ["up" if ",UP" in line or "<UP" in line else "down" for line in links.splitlines()
                  if line.startswith((f"{inport}:", f"{outport}:"))]  # fmt: skip
        self.guarded.append((states[0], states[1]))

    async def agent(self) -> LocalAppliances:
        appliances = LocalAppliances("orb", self.state_dir, self._guard, self.cache, MARK, slots=self.slots)
        await appliances.start(lambda: None)
        self.agents.append(appliances)
        return appliances

    def ports(self) -> list[str]:
        listing = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout
        return [line.split()[0] for line in listing.splitlines() if line.startswith(("ori", "oro"))]

    def processes(self) -> list[int]:
        """Every process that an appliance of this server runs as."""
        tag = f"OUTRIDER_APPLIANCE={self.state_dir}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and tag in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def left_behind(self) -> list[object]:
        return [*self.ports(), *self.processes(), *(self.state_dir.iterdir() if self.state_dir.exists() else ())]


def appliance(
    name: str = "a-1",
    image: str = "bridge-null",
    form: ApplianceFormat = ApplianceFormat.CONTAINER,
    rules: RuleSet | None = None,
    ready_within_s: float = 60.0,
) -> ApplianceIntent:
    """What a controller would ask for."""
    shape = ApplianceClass(
        "class", ("ips",), image, form, ruleset=rules.name if rules else None, ready_within_s=ready_within_s
    )
    return ApplianceIntent(name, shape, rules)


async def until(condition: Callable[[], object], seconds: float) -> None:
    """Return when ``condition`` is true; fail after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # any condition, not only those that have an event
            await asyncio.sleep(0.005)


def seen(agent: LocalAppliances, name: str = "a-1") -> ApplianceObservation:
    return next(found for found in agent.snapshot() if found.name == name)


async def ready(agent: LocalAppliances, name: str = "a-1", seconds: float = 60.0) -> ApplianceObservation:
    """The appliance once it is ready; fails with its reason."""
    try:
        await until(lambda: seen(agent, name).state is ApplianceState.READY, seconds)
    except TimeoutError:
        pytest.fail(f"not ready: {seen(agent, name)}")
    return seen(agent, name)
