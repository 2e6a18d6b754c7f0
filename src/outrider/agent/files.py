"""The little an agent keeps on disk: its last intent, the guests it last saw, the emergency releases and their audit.

Every write goes to a new file that then takes the old one's place, so that a crash leaves one or the other whole.
"""

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from outrider.domain.guest import VnicId
from outrider.domain.observation import GuestObservation
from outrider.manifests.codec import CodecError, decode_json, encode_json
from outrider.session.messages import BadMessage, IntentMessage, decode_intent, encode


@dataclass(frozen=True, slots=True)
class SavedGuests:
    """The content of ``guests.json``."""

    guests: tuple[GuestObservation, ...]


class AgentFiles:
    """Files in ``directory``, which is made when it is not there."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = (directory / "lock").open("w")
        self._intent = directory / "intent.json"
        self._guests = directory / "guests.json"
        self._released = directory / "released.json"
        self._audit = directory / "audit.log"

    def lock(self) -> None:
        """Keep other agents out for as long as this process lives. Raises ``BlockingIOError`` when one is in.

        Two agents of one server would undo each other's tables.
        """
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def last_intent(self) -> IntentMessage | None:
        """The intent last saved; None when there is none. Raises ``BadMessage`` for one that cannot be read."""
        if not self._intent.exists():
            return None
        try:
            return decode_intent(self._intent.read_bytes())
        except BadMessage as error:
            raise BadMessage(f"{self._intent}: {error}") from error

    def save_intent(self, message: IntentMessage) -> None:
        """Keep ``message`` as the intent to enforce when no controller can be reached."""
        _replace_file(self._intent, encode(message))

    def last_guests(self) -> tuple[GuestObservation, ...]:
        """The guests last saved; none when there are none or they cannot be read (they are only a memory)."""
        try:
            return decode_json(SavedGuests, self._guests.read_bytes()).guests
        except (OSError, CodecError):
            return ()

    def save_guests(self, guests: Sequence[GuestObservation]) -> None:
        """Keep ``guests``, so that an agent that starts while its hypervisor is away knows whose ports these are."""
        _replace_file(self._guests, encode_json(SavedGuests(tuple(guests))))

    def released(self) -> frozenset[VnicId]:
        """The vnics under emergency release."""
        if not self._released.exists():
            return frozenset()
        return frozenset(VnicId.parse(text) for text in json.loads(self._released.read_text()))

    def save_released(self, released: frozenset[VnicId]) -> None:
        """Keep ``released`` over restarts: a release ends only when an operator undoes it."""
        _replace_file(self._released, json.dumps(sorted(map(str, released))).encode())

    def audit(self, entry: dict[str, object]) -> None:
        """Append one line that says who did what; on disk before this returns."""
        with self._audit.open("a") as file:
            file.write(json.dumps(entry, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _replace_file(path: Path, content: bytes) -> None:
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
