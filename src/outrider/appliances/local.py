"""The appliances of one server, as the agent's ``Appliances`` port wants them.

Level-triggered: ``apply`` says what should exist, and what does is brought there by one task per appliance. The
adapter decides nothing about wires; it creates, proves, watches and retires, and says how far it has got and why.

An agent's end touches nothing: ``stop`` ends the tasks, and the next agent adopts what the records name.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from outrider.appliances.accelerator import AcceleratorFinding, observe_accelerator
from outrider.appliances.life import ApplianceLife, Guard, Site
from outrider.appliances.ports import delete_ports
from outrider.appliances.process import end_strays
from outrider.appliances.record import ApplianceFolder, Record, known_folders, ports_of
from outrider.domain.appliance import ApplianceState
from outrider.domain.intent import ApplianceIntent
from outrider.domain.observation import ApplianceObservation

_RETIRE_AGAIN_S = 1.0
_THREADS = 32


class LocalAppliances:
    """Appliances as processes of this server.

    ``state_dir`` keeps their records and sockets; ``guard(inport, outport)`` attaches the steering programs by
    ifindex, and is called before the ports are up and again on adoption; ``cache_dir`` is where images were built;
    ``entering_mark`` is the packet mark with which our own probes may enter an appliance; ``guest_mtu`` is in bytes;
    ``slots`` is how many appliances this server has room for.
    """

    def __init__(
        self,
        server: str,
        state_dir: Path,
        guard: Guard,
        cache_dir: Path,
        entering_mark: int,
        guest_mtu: int = 1500,
        slots: int = 4,
        accelerator: Callable[[], AcceleratorFinding] = observe_accelerator,
    ) -> None:
        self.server = server
        self._state_dir = state_dir
        self._slots = slots
        self._threads = ThreadPoolExecutor(_THREADS, "appliance")
        self._site = Site(guard, cache_dir, entering_mark, guest_mtu, self._threads, cache(accelerator))
        self._lives: dict[str, ApplianceLife] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._retiring: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[str, ApplianceObservation] = {}
        self._wanted: Sequence[ApplianceIntent] = ()
        self._on_change: Callable[[], None] = lambda: None

    async def start(self, on_change: Callable[[], None]) -> None:
        """Adopt what an earlier agent left running, and sweep what it left half done, then begin."""
        self._on_change = on_change
        for folder in known_folders(self._state_dir):
            record = folder.read()
            if record is None:
                await asyncio.to_thread(_sweep, folder)
            else:
                self._begin(record, folder)
                self._lives[record.intent.name].adopt()

    async def stop(self) -> None:
        """Stop watching. Appliances keep running; one that is being retired is retired to the end."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._retiring.values(), return_exceptions=True)
        self._tasks.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def apply(self, wanted: Sequence[ApplianceIntent]) -> None:
        """Create what is missing, retire what is not wanted; returns at once."""
        self._wanted = tuple(wanted)
        self._reconcile()

    def snapshot(self) -> Sequence[ApplianceObservation]:
        """How far each appliance has got; one that is being retired is listed until nothing of it is left."""
        return [*(life.observe() for life in self._lives.values()), *self._refused.values()]

    def ports(self, appliance: str) -> tuple[int, int] | None:
        """(ifindex of the inport, of the outport), once they exist and are guarded."""
        life = self._lives.get(appliance)
        return life.ifindexes if life else None

    def accelerator(self) -> AcceleratorFinding:
        """What VMs run with here, found out once; blocks for some tenths of a second the first time."""
        return self._site.accelerator()

    def _reconcile(self) -> None:
        names = {intent.name for intent in self._wanted}
        for name in set(self._tasks) - names:
            self._retire(name)
        self._refused.clear()
        for intent in self._wanted:
            if intent.name in self._retiring:
                continue  # looked at again when nothing of the former one is left
            if intent.name in self._lives:
                self._lives[intent.name].want(intent)
            else:
                self._create(intent)

    def _create(self, intent: ApplianceIntent) -> None:
        if len(self._lives) >= self._slots:
            self._refuse(intent, f"server {self.server} is full: {len(self._lives)} of {self._slots} appliance slots")
            return
        try:
            folder = ApplianceFolder.of(self._state_dir, intent.name)
        except ValueError as error:
            self._refuse(intent, str(error))
            return
        self._begin(Record(intent, requested_at=time.time()), folder)

    def _refuse(self, intent: ApplianceIntent, reason: str) -> None:
        self._refused[intent.name] = ApplianceObservation(
            intent.name, intent.appliance_class.name, ApplianceState.FAILED, reason
        )
        self._on_change()

    def _begin(self, record: Record, folder: ApplianceFolder) -> None:
        name = record.intent.name
        life = ApplianceLife(record, folder, self._site, self._on_change)
        self._lives[name] = life
        self._tasks[name] = asyncio.get_running_loop().create_task(life.run(), name=f"appliance {name}")

    def _retire(self, name: str) -> None:
        task = self._tasks.pop(name)
        task.cancel()
        self._retiring[name] = asyncio.get_running_loop().create_task(self._retire_to_the_end(name, task))

    async def _retire_to_the_end(self, name: str, task: asyncio.Task[None]) -> None:
        await asyncio.wait([task])
        while not await self._lives[name].retire():  # noqa: ASYNC110  # nothing tells when the kernel lets go
            await asyncio.sleep(_RETIRE_AGAIN_S)
        del self._lives[name], self._retiring[name]
        self._on_change()
        self._reconcile()


def _sweep(folder: ApplianceFolder) -> None:
    """Remove an appliance of which no record can be read: nobody could prove what it runs."""
    end_strays(str(folder.path))
    delete_ports(ports_of(folder))
    folder.remove()
