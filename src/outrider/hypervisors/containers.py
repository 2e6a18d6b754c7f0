"""The lab's container guests: one JSON description per guest in a directory, written by the lab, read here.

A directory is the smallest hypervisor there can be: it needs no daemon, survives the agent, and is changed atomically
by renaming. It is looked at often rather than watched, since a description never tells the agent anything urgent:
arming is asked for through the hook's socket, before the port can carry a packet.
"""

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outrider.domain.guest import GuestState
from outrider.domain.labels import Labels, check_label_key, check_label_value
from outrider.domain.names import check_mac
from outrider.domain.observation import GuestObservation, VnicObservation
from outrider.hypervisors.announcements import Announcements
from outrider.hypervisors.watching import watch

LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class ContainerDescription:
    """A container guest as the lab describes it; ``vnics`` are (MAC, host-side port) pairs."""

    uuid: str
    name: str
    state: GuestState
    labels: Labels
    vnics: tuple[tuple[str, str | None], ...]

    def to_json(self) -> str:
        vnics = [{"mac": mac, "port": port} for mac, port in self.vnics]
        return json.dumps(
            {
                "uuid": self.uuid,
                "name": self.name,
                "state": self.state.value,
                "labels": dict(self.labels),
                "vnics": vnics,
            }
        )


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"container description: {field} must be a text that is not empty")
    return value


def parse_container(description: str) -> GuestObservation:
    """The guest that a description (one JSON object) speaks of. Raises ``ValueError`` saying what is wrong with it."""
    try:
        raw = json.loads(description)
    except ValueError as error:
        raise ValueError(f"container description is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ValueError("container description must be one JSON object")
    labels = raw.get("labels", {})
    if not isinstance(labels, dict):
        raise ValueError("container description: labels must be an object of texts")
    vnics = raw.get("vnics", [])
    if not isinstance(vnics, list) or not all(isinstance(vnic, dict) for vnic in vnics):
        raise ValueError("container description: vnics must be a list of objects")
    return GuestObservation(
        uuid=_text(raw.get("uuid"), "uuid"),
        name=_text(raw.get("name"), "name"),
        state=GuestState(_text(raw.get("state"), "state")),
        labels={check_label_key(k): check_label_value(str(v)) for k, v in labels.items()},
        vnics=tuple(
            VnicObservation(check_mac(_text(vnic.get("mac"), "mac")), vnic.get("port") or None) for vnic in vnics
        ),
    )


def _file_of(directory: Path, uuid: str) -> Path:
    return directory / f"{uuid}.json"


def write_description(directory: Path, description: ContainerDescription) -> None:
    """Put a description into a server's directory, replacing the guest's former one atomically."""
    target = _file_of(directory, description.uuid)
    fresh = target.with_suffix(f".{os.getpid()}.new")
    fresh.write_text(description.to_json())
    fresh.replace(target)


def remove_description(directory: Path, uuid: str) -> None:
    """Forget a guest; harmless when it is not described there."""
    _file_of(directory, uuid).unlink(missing_ok=True)


class ContainerHypervisor:
    """Satisfies the agent's ``Hypervisor`` protocol for the container guests described in ``run_dir``.

    ``problems`` names the descriptions that cannot be understood, by file name; ``has_looked`` is true once the
    directory has been read.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._guests: dict[str, GuestObservation] = {}
        self._announced = Announcements()
        self._stamps: dict[str, tuple[int, int]] = {}
        self._watch: asyncio.Task[None] | None = None
        self._on_change: Callable[[], None] = lambda: None
        self.problems: dict[str, str] = {}
        self.has_looked = False

    async def start(self, on_change: Callable[[], None]) -> None:
        """Read the directory, then watch it. Raises ``OSError`` when it cannot be made."""
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self._on_change = on_change
        self._look()
        self.has_looked = True
        self._watch = watch(self._keep_looking(), "container descriptions")

    async def stop(self) -> None:
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
            self._watch = None

    def snapshot(self) -> Sequence[GuestObservation]:
        """The guests described now; one announced but not yet described comes along as announced."""
        self._look()
        return (*self._guests.values(), *self._announced.believed())

    def understands(self, description: str) -> bool:
        """True when a description is one of a container."""
        return description.lstrip().startswith("{")

    def announce(self, description: str) -> GuestObservation:
        """Take in a description ahead of the directory's own. Raises ``ValueError``."""
        guest = parse_container(description)
        if guest.uuid not in self._guests:
            self._announced.add(guest)
        return guest

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._look():
                self._on_change()

    def _look(self) -> bool:
        """Read what changed since the last look; True when anything did."""
        found = _stamps_in(self._run_dir)
        if found == self._stamps:
            return False
        self._stamps = found
        self._guests, self.problems = {}, {}
        for name in sorted(found):
            self._read(name)
        self._announced.forget(self._guests.keys())
        return True

    def _read(self, name: str) -> None:
        try:
            guest = parse_container((self._run_dir / name).read_text())
        except FileNotFoundError:
            self._stamps.pop(name)
        except ValueError as error:
            self.problems[name] = str(error)
        else:
            self._guests[guest.uuid] = guest


def _stamps_in(directory: Path) -> dict[str, tuple[int, int]]:
    """What tells each description from its former self; a directory that is gone describes nobody."""
    stamps = {}
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                if entry.name.endswith(".json"):
                    status = entry.stat()
                    stamps[entry.name] = (status.st_mtime_ns, status.st_ino)
    return stamps
